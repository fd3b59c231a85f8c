"""How labels, and fields of records with few different values, are spelled: an answer in another
spelling counts as wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from assay import json_reader
from assay.config import TaskKind
from assay.data.contents import quote_label
from assay.data.normal import normalise
from assay.quantities import say_count

TASKS: tuple[TaskKind, ...] = ("label", "json")
"""Whose outputs have values that are spelled."""
OF_A_SET = 0.25
"""A field with at most so many different texts for each record takes them from a set."""
MOST_VALUES = 1000
"""A field with more different texts than this does not take them from a set."""
LONGEST_VALUE = 200
"""Characters; a longer text is none of a set and is passed over."""
MOST_FIELDS = 1000
"""Fields that are compared; records whose keys are data, such as ids, have ever new ones."""
MOST_LINES = 1000
"""Lines of one spelling that are remembered."""
SPELLING_FIX = "Write it as there: an answer in another spelling counts as wrong."
_YES_NO = {"true": "yes", "false": "no"}
_TWO_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
"""As German is written where a keyboard or a program has no umlauts."""


def plain(value: str) -> str:
    """What all spellings of a value have in common."""
    text = normalise(value.replace("_", " ")).translate(_TWO_LETTERS)
    return _YES_NO.get(text, text)


@dataclass(slots=True)
class _Field:
    """The texts of one field: how often each was seen, by what its spellings have in common."""

    rows: int = 0
    values: dict[str, Counter[str]] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)


class Spellings:
    """The spellings of outputs gone by.

    Args:
        task: labels are compared as they are, of records each field; of another task nothing is.
    """

    def __init__(self, task: TaskKind | None) -> None:
        self._task = task
        self._fields: dict[str, _Field] = {}

    def add(self, output: str, line: int = 0) -> None:
        """Remember how an output is spelled, and where it stands."""
        for name, value in self._values(output):
            if name not in self._fields and len(self._fields) >= MOST_FIELDS:
                continue
            found = self._fields.setdefault(name, _Field())
            found.rows += 1
            if found.rows > 1 and not found.values:
                continue  # too many different ones
            found.values.setdefault(plain(value), Counter())[value] += 1
            lines = found.lines.setdefault(value, [])
            if len(lines) < MOST_LINES:
                lines.append(line)
            if len(found.lines) > MOST_VALUES:
                found.values, found.lines = {}, {}

    def find_others(self, output: str) -> list[str]:
        """A sentence for each value of an output that most of those gone by spell otherwise."""
        told = (self._tell(name, value) for name, value in self._values(output))
        return [sentence for sentence in told if sentence is not None]

    def odd_rows(self) -> Iterator[tuple[int, str]]:
        """Line and sentence of each row whose spelling is not the most frequent one, in order."""
        found = (
            (line, said)
            for name, one in self._fields.items()
            for alike in one.values.values()
            if len(alike) > 1
            for value in alike
            if (said := self._tell(name, value)) is not None
            for line in one.lines[value]
        )
        yield from sorted(found)

    def _tell(self, name: str, value: str) -> str | None:
        known = self._fields.get(name)
        if known is None or not (text := plain(value)) or text not in known.values:
            return None
        if name and len(known.values) > OF_A_SET * known.rows:
            return None
        [(usual, count)] = known.values[text].most_common(1)
        if value == usual:
            return None
        inside = f"in {name}, " if name else ""
        rows = say_count(count, "row")
        return f"{inside}{quote_label(value)} is written {quote_label(usual)} in {rows}."

    def _values(self, output: str) -> Iterator[tuple[str, str]]:
        """The short texts of an output with their fields; a label has no field, and no grader
        counts the white space around it."""
        if self._task == "label" and len(output) <= LONGEST_VALUE:
            yield "", output.strip()
        if self._task != "json":
            return
        try:
            record = json_reader.read(output)
        except ValueError:
            return
        if isinstance(record, dict):
            for name, text in record.items():
                if isinstance(text, str) and len(text) <= LONGEST_VALUE:
                    yield name, text
