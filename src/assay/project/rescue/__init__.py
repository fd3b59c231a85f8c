"""An account at OpenAI whose fine-tuned models end, and a project of each of these.

account.py    fetched into a folder: who is asked, with which key
plan.py       a project of each fine-tuned model
files.py      training files that are here already; which folder is whose project
uploads.py    such files that a browser brings to a server
settings.py   what a job's settings are in assay.yaml
successor.py  the provider's model that takes part
page.py       plan.md: what to run next, and what to change in the calling program
"""
