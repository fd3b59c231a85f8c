"""The compatibility suite: other people's clients, unmodified, drive a real `assay serve`.

    make compat                 # installs them, runs all, writes docs/compat.md
    python -m tests.compat --clients .venv-compat --only openai

A client is a file of `clients/`, run by a Python of its own that has neither Assay nor pytest:
`checks.py` is all that it shares with the suite. What is installed where is in `requirements/`.
"""
