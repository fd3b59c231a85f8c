"""Sentences of a passage, in order and as they stand there, in time linear in its length."""

from __future__ import annotations

import re
from collections.abc import Iterator

_HEADING = re.compile(r"#{1,6}\s")
_ITEM = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s+")
_END = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]»]*\s+|[。！？]+")
_ABBREVIATION = re.compile(
    r"(?:\W|^)(?:[^\W\d_]|Dr|Mr|Mrs|Ms|Prof|St|No|Fig|vs|cf|e\.g|i\.e|approx|incl)\.$",
    re.IGNORECASE,
)
_LONGEST_ABBREVIATION = 8
_FIGURE = re.compile(r"\d(?:[\d.,:/–-]{0,22}\d)?\s?(?:[€$£¥%]|[A-Z]{3})?$")
_LONGEST_FIGURE = 24


def sentences(text: str) -> list[str]:
    """Sentences of a text in Markdown or without marks; headings and rules are none.

    A line of a list or of a table begins a new one; other lines go on where the last one ended.
    Of a table without marks, as a PDF gives a price list, each row ends one: a line that ends in a
    figure, as the line before or after it does.
    """
    return [one for part in _paragraphs(text) for one in _split(part)]


def spans(text: str, count: int) -> list[str]:
    """Every run of so many sentences in a row; all of them where there are fewer."""
    found = sentences(text)
    starts = range(max(1, len(found) - count + 1)) if found else ()
    return [" ".join(found[start : start + count]) for start in starts]


def _paragraphs(text: str) -> Iterator[str]:
    open_lines: list[str] = []
    lines = [*(line.strip() for line in text.splitlines()), ""]
    figures = [
        False,
        *(_FIGURE.search(line[-_LONGEST_FIGURE:]) is not None for line in lines),
        False,
    ]
    for place, line in enumerate(lines):
        before, ends_in_figure, after = figures[place : place + 3]
        is_alone = line.startswith("|") or _HEADING.match(line) is not None
        item = _ITEM.match(line)
        if not line or is_alone or item:
            if open_lines:
                yield " ".join(open_lines)
            open_lines = [line[item.end() :]] if item else []
            if line.startswith("|"):
                yield line
        else:
            open_lines.append(line)
            if ends_in_figure and (before or after):
                yield " ".join(open_lines)
                open_lines = []


def _split(paragraph: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(paragraph):
        following = paragraph[end.end() : end.end() + 1]
        before = paragraph[max(start, end.start() - _LONGEST_ABBREVIATION) : end.start() + 1]
        if following.islower() or _ABBREVIATION.search(before):
            continue
        yield from _worded(paragraph[start : end.end()])
        start = end.end()
    yield from _worded(paragraph[start:])


def _worded(sentence: str) -> Iterator[str]:
    if any(sign.isalnum() for sign in sentence):
        yield sentence.strip()
