"""The built-in project: data of a fictional ferry company, so that Assay runs before a user brings
data of their own. What the records mean is written in `ferry/README.md`; the data is CC0."""

from pathlib import Path


def folder() -> Path:
    """The folder of the built-in project, which holds `tickets.jsonl` and its `README.md`."""
    return Path(__file__).parent / "ferry"
