"""What Assay brings along: the built-in project, data of a fictional ferry company, so that Assay
runs before a user brings data of their own (what the records mean is written in `ferry/README.md`);
the probe of general ability; and general rows to rehearse. The data is CC0."""

from pathlib import Path


def folder() -> Path:
    """The folder of the built-in project, which holds `tickets.jsonl` and its `README.md`.

    Its third job is there too: `handbook/`, the company's documents, and `questions.jsonl`.
    """
    return Path(__file__).parent / "ferry"


ABSTAIN = "The handbook does not say."
"""The answer of the questions that no document of the handbook answers; their `document` is ""."""


def general() -> Path:
    """The probe of general ability: texts and instructions written for it, see docs/training.md.

    One a line: `text` is to be predicted, `prompt` to be followed, as its grader says.
    """
    return Path(__file__).parent / "general.jsonl"


def rehearsal() -> Path:
    """General instructions with good answers, for `fine_tune.rehearsal`; none is in the probe."""
    return Path(__file__).parent / "rehearsal.jsonl"
