"""Candidates: (train, validation) in, an agent out. Each is one file with `SPEC` and `build`.

spec.py       what others ask about a candidate before it is built
registry.py   all candidates by name, those of other distributions too
building.py   what `build` gets and gives
shared/       steps that several candidates have in common
"""
