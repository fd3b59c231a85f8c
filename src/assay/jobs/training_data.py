"""A training file, looked at before anybody waits for it; every row of no use is named.

Rows are read through `assay.data` and rendered as the trainer will, so what passes here does not
fail there for its rows.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.chat.template import Template
from assay.data.problems import Problem
from assay.data.propose import Judgement
from assay.data.read import read
from assay.errors import AssayError, DataError
from assay.example import Example
from assay.quantities import say_count
from assay.train.sequences import Unit, check_sequences, rows_of
from assay.train.units import units_of

LEAST_ROWS = 10
"""In a training file, as OpenAI asks for."""
HELD_BACK = 0.1
_LEAST_HELD_BACK, MOST_HELD_BACK = 3, 200
_SHOWN = 5  # lines that a message names
_FORMATS: dict[Judgement, str] = {"answers": "openai-chat", "pairs": "openai-preference"}


@dataclass(slots=True)
class CheckedFile:
    """What was found in a file.

    Attributes:
        examples: that can be trained on.
        units: of each example, as the trainer takes them.
        errors: (line of the file, what is wrong with it), in order; at most one a line.
        warnings: by code: a message of the first, and how many there are.
        items: for reinforcement, what graders compare with, by the id of the example.
    """

    examples: list[Example] = field(default_factory=list)
    units: list[list[Unit]] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)
    warnings: dict[str, tuple[str, int]] = field(default_factory=dict)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)

    def complaint(self, least: int) -> str | None:
        """Why the file cannot be used, as sentences; None when it can."""
        if self.errors:
            shown = [f"Line {line}: {what}" for line, what in self.errors[:_SHOWN]]
            more = len(self.errors) - len(shown)
            return " ".join(shown) + (f" And {say_count(more, 'more line')}." if more else "")
        if len(self.examples) < least:
            have = say_count(len(self.examples), "example")
            return f"It has {have}, but must have at least {least}."
        return None


def check(path: Path, learns_from: Judgement, template: Template, limit: int) -> CheckedFile:
    """Read and render every row.

    Args:
        path: JSONL in OpenAI's format for what the method learns from.
        limit: tokens that a row may have.
    """
    checked = CheckedFile()
    try:
        for row in read(path, format=_FORMATS[learns_from]):
            errors = [p for p in row.problems if p.severity == "error"]
            if errors:
                checked.errors.append((row.line, sentence(errors[0])))
                continue
            note_warnings(checked, row.problems, row.line)
            if row.example is not None:
                _render(row.example, learns_from, template, limit, row.line, checked)
    except DataError as error:  # the file as a whole; where it is, is nobody's business
        checked.errors.insert(0, (1, f"{error.what} {error.fix or ''}".strip()))
    return checked


def note_warnings(checked: CheckedFile, problems: Iterable[Problem], line: int) -> None:
    """Count the warnings of a row that is used."""
    for found in problems:
        if found.severity == "warning":
            first, count = checked.warnings.get(found.code, (f"Line {line}: {sentence(found)}", 0))
            checked.warnings[found.code] = first, count + 1


def hold_back(examples: Sequence[Example], seed: int) -> set[int]:
    """Places of the rows that are not trained on, to tell the best epoch by.

    A tenth, at least 3 and at most 200. Rows with one input stay together, so that nothing is
    trained that is measured, unless that would hold back more than half.
    """
    wanted = min(MOST_HELD_BACK, max(_LEAST_HELD_BACK, round(len(examples) * HELD_BACK)))
    groups: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        groups.setdefault(example.group or example.input, []).append(place)
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    held: set[int] = set()
    for group in order:
        if len(held) >= wanted:
            break
        if len(held) + len(group) <= len(examples) // 2:
            held.update(group)
    if not held:
        places = list(range(len(examples)))
        random.Random(seed).shuffle(places)
        held = set(places[:wanted])
    return held


def _render(
    example: Example,
    learns_from: Judgement,
    template: Template,
    limit: int,
    line: int,
    checked: CheckedFile,
) -> None:
    if not example.output.strip():
        checked.errors.append(
            (line, "there is no answer to learn from: the last message is empty.")
        )
        return
    try:
        units = units_of(learns_from, [example], template, "")
        check_sequences(rows_of(units), "training", limit)
    except AssayError as error:
        checked.errors.append((line, error.what))
        return
    checked.examples.append(example)
    checked.units.append(units)


def sentence(found: Problem) -> str:
    """What is wrong with a field, and what to do."""
    where = f"{found.field}: " if found.field else ""
    return f"{where}{found.message} {found.fix}"
