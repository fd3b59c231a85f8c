"""What a split has seen: no new holdout may hold any of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay import json_reader
from assay.data.overlap import overlap
from assay.data.privacy import mask_within
from assay.data.split import HOLDOUT, QUARANTINE, RECYCLED, TRAIN, VALIDATION
from assay.errors import DataError
from assay.example import Example, read_examples


def refuse_seen(fresh: Sequence[Example], seen: Sequence[Example], file: str) -> None:
    """Refuse a new holdout with an example that was seen before, as it is or masked.

    Raises:
        DataError: naming the lines.
    """
    # Either may have been masked, and the other not.
    told = ((n, text) for n, e in enumerate(fresh) for text in _spellings(e))
    gate = overlap(enumerate(text for e in seen for text in _spellings(e)), told)
    groups = {e.group for e in seen} - {None}
    lines = {fresh[twin.holdout_row].line for twin in gate.rows}
    lines |= {e.line for e in fresh if e.group in groups}
    if lines:
        more = f" and {len(lines) - 10} more" if len(lines) > 10 else ""
        raise DataError(
            f"{len(lines)} of the new examples repeat earlier ones, or nearly, or belong to the "
            f"group of one: {'line' if len(lines) == 1 else 'lines'} "
            f"{', '.join(map(str, sorted(lines)[:10]))}{more}.",
            where=file,
            fix="Remove them: a new holdout may only contain new examples.",
        )


def _spellings(example: Example) -> set[str]:
    return {example.input, mask_within(example.input)[0]}


def list_seen(folder: Path) -> list[Example]:
    """All examples that a split holds, whatever for; used for comparing, never handed out."""
    seen = [
        example
        for name in (TRAIN, VALIDATION, HOLDOUT, RECYCLED)
        if (folder / name).exists()
        for example in read_examples(folder / name)
    ]
    with (folder / QUARANTINE).open(encoding="utf-8") as lines:
        seen += [Example.from_dict(json_reader.read(line)["example"]) for line in lines]
    return seen
