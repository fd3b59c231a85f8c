"""METEOR: how many words two texts share, and in how few pieces they stand in the same order.

    meteor("it sat on the mats", "the cat sat on the mat")

Banerjee & Lavie 2005 (aclanthology.org/W05-0909) with their weights: recall counts nine times as
much as precision, and pieces take away up to one half. Their first two stages pair words, the same
ones and then those of one stem; their third, synonyms, needs WordNet and is left out. Of several
alignments they take the one that crosses least, which is costly to find: here words are paired from
the end, as NLTK does, in time that grows with the number of words.

Stems are Porter's (of English), by the tokenizer of that name in SQLite's full-text search.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from functools import cache
from itertools import pairwise

from assay.errors import UsageError
from assay.evaluate.graders.text import words

_LONGEST = 64
"""Longer words have no stem in SQLite."""


def meteor(answer: str, reference: str) -> float:
    """The score, from 0 to 1; of two equal texts of n words 1 - 0.5 / n³. Without a word in one of
    them it is 1 if there is none in the other. Where `check_stemmer` refuses, there is none.
    """
    got, wanted = words(answer), words(reference)
    if not got or not wanted:
        return float(got == wanted)
    pairs = sorted(_align(got, wanted).items())
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(got), len(pairs) / len(wanted)
    mean = 10 * precision * recall / (recall + 9 * precision)
    pieces = 1 + sum((a + 1, b + 1) != after for (a, b), after in pairwise(pairs))
    return mean * (1 - 0.5 * (pieces / len(pairs)) ** 3)


@cache
def check_stemmer() -> None:
    """Refuse a Python whose SQLite cannot stem.

    Raises:
        UsageError: it has no full-text search.
    """
    try:
        _stems(())
    except sqlite3.OperationalError:
        raise UsageError(
            "the metric meteor needs the full-text search (FTS5) of SQLite, which this Python's "
            "SQLite is built without.",
            fix="Use another metric, or a Python with it, such as python.org's.",
        ) from None


def _align(got: list[str], wanted: list[str]) -> dict[int, int]:
    """Words of one text by those of the other, as positions: equal ones first, then equal stems."""
    ours, theirs = dict(enumerate(got)), dict(enumerate(wanted))
    pairs = _pair(ours, theirs)
    stems = _stems({*ours.values(), *theirs.values()})
    left = [{place: stems.get(word, word) for place, word in one.items()} for one in (ours, theirs)]
    return pairs | _pair(*left)


def _pair(ours: dict[int, str], theirs: dict[int, str]) -> dict[int, int]:
    """Positions of the same words, from the end; they are taken out of both."""
    places = defaultdict[str, list[int]](list)
    for place, word in theirs.items():
        places[word].append(place)
    pairs = {place: places[word].pop() for place, word in reversed(ours.items()) if places[word]}
    for place, other in pairs.items():
        del ours[place], theirs[other]
    return pairs


def _stems(found: Iterable[str]) -> dict[str, str]:
    """Stems by words, which are lower-case letters and digits alone; a long word has none.

    Raises:
        sqlite3.OperationalError: there is no full-text search.
    """
    short = [word for word in found if len(word.encode()) <= _LONGEST]
    with closing(sqlite3.connect(":memory:")) as base:
        # To `ascii` whatever is not ASCII is part of a word, so that each stays in one piece.
        base.execute("CREATE VIRTUAL TABLE word USING fts5(text, tokenize = 'porter ascii')")
        base.execute("CREATE VIRTUAL TABLE stem USING fts5vocab(word, 'instance')")
        base.executemany("INSERT INTO word (rowid, text) VALUES (?, ?)", enumerate(short))
        return {short[row]: stem for stem, row in base.execute("SELECT term, doc FROM stem")}
