"""Logs and traces as other programs write them, kept for the tests that read them.

    make logs                            # installs the programs, writes everything anew
    python -m tests.compat.logs --clients .venv-compat --only lm_eval

A program has a file here, which drives it without a network: the models are its own stand-ins, or
`provider.py`. What it writes lies in `written/`, beside a table of the versions. LiteLLM is that
of `tests/compat/requirements`; promptfoo is in `package.json` and needs npm and node 20 on Linux;
the others are in `requirements.txt`. Ids, times and one random number a question (of lm-eval's
stand-in) are others each time.
"""
