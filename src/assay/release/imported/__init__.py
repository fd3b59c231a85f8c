"""Traces that other programs have kept, read into one folder, redacted before they are written.

trace.py       one request and its answer, whatever wrote it down
raw.py         what a format's reader finds of it, and how that becomes a trace or a reason why not
otel.py, langfuse.py, litellm.py, stored_completions.py, plain.py
               one format each: `matches` and `read`
reading.py     a file in, traces and rejections out
folder.py      where they are kept, what is there already
jobs.py        which of them are one job, and what that costs; skeleton.py: what two prompts share
"""
