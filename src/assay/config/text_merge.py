"""One layout of a text changed like another: what stays is spelled as it was."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

MOST_MERGED = 4000
"""Lines of two texts that are held against each other: it takes their product."""


def merge(text: str, unchanged: str, changed: str) -> str:
    """What differs between two texts, put into a third of which the first is another layout.

    Lines that are the same in both stay as they are in `text`, however they are indented; the
    others are moved like the line that they take the place of, or stand below. Where lines do not
    correspond it is `changed` as it is.
    """
    ended = text if text.endswith("\n") else f"{text}\n"
    lines, old, new = ended.split("\n"), unchanged.split("\n"), changed.split("\n")
    if len(lines) != len(old) or len(old) + len(new) > MOST_MERGED:
        return changed
    made: list[str] = []
    for kind, start, end, first, last in SequenceMatcher(None, old, new, False).get_opcodes():
        if kind == "equal":
            made += lines[start:end]
            continue
        near = start if start < end else _alike(old, start, new[first])
        shift = _indent_of(lines[near]) - _indent_of(old[near])
        made += [_shift(line, shift) for line in new[first:last]]
    return "\n".join(made)


def _alike(lines: Sequence[str], place: int, line: str) -> int:
    """The line beside a place that one put in there is indented like: an item like an item."""

    def kind(one: str) -> tuple[int, bool]:
        return _indent_of(one), one.lstrip().startswith("- ")

    beside = (at for at in (place - 1, place) if 0 <= at < len(lines))
    return next((at for at in beside if kind(lines[at]) == kind(line)), max(place - 1, 0))


def _indent_of(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _shift(line: str, columns: int) -> str:
    if columns >= 0:
        return " " * columns + line if line.strip() else line
    return line[min(-columns, _indent_of(line)) :]
