"""The part of a passage that is shown for a query: where most of the query's words stand."""

from __future__ import annotations

import re
from collections import Counter

CHARACTERS = 280
"""Of an excerpt, about: six lines of a column."""
_STEM = 5
"""Words that begin with so many equal letters count as one word with other endings."""
_PIECE = re.compile(r"\S(?:[^\n.!?。！？]|[.!?](?!\s|\Z))*[.!?。！？]*")
"""A sentence; the point in 3.50 ends none."""
_BLANK_LINES = re.compile(r"\n\s*\n")
_WORD = re.compile(r"\w+")


def excerpt(text: str, query: str, most: int = CHARACTERS) -> str:
    """The sentence that shares most words with a query, with its line and what comes after; the
    beginning where none shares a word. A word that few sentences have counts more than one that
    many have. What is left out before and after is told by "…"; a passage that is not much longer
    is given whole, else without blank lines.

    Args:
        most: characters, unless that sentence alone is longer.
    """
    text = text.strip()
    if len(text) <= 1.25 * most:
        return text
    asked, pieces = _words(query), list(_PIECE.finditer(text))
    shared = [asked & _words(piece[0]) for piece in pieces]
    having = Counter(word for words in shared for word in words)
    weights = [sum(having[word] ** -2 for word in words) for words in shared]
    first = last = weights.index(max(weights))
    while first > 0 and "\n" not in text[pieces[first - 1].end() : pieces[first].start()]:
        if pieces[last].end() - pieces[first - 1].start() > most:
            break
        first -= 1
    while last + 1 < len(pieces) and pieces[last + 1].end() - pieces[first].start() <= most:
        last += 1
    while last > first and pieces[last][0].startswith("#"):  # the heading of what is left out
        last -= 1
    start, end = pieces[first].start(), pieces[last].end()
    before, after = "… " if start else "", " …" if end < len(text) else ""
    return before + _BLANK_LINES.sub("\n", text[start:end]) + after


def _words(text: str) -> set[str]:
    return {word[:_STEM] for word in _WORD.findall(text.casefold())}
