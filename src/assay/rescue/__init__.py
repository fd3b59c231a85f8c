"""An account elsewhere, brought home: all that it holds and will be lost, as files of one folder.

account.py    what is fetched, in which order
client.py     one GET request: patience, limits, refusals
lists.py      lists page by page, into JSONL
downloads.py  files, compared with what their record says
patience.py   when a kind, and when everything, is given up
manifest.py   what is there already: a killed run goes on
owner.py      whose account it is, the key as a salted hash
folder.py     names of files, and what makes the folder private
recording.py  answers of a model that will end, a line each
report.py     what was fetched, what was not, what to do next
"""
