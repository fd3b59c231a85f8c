"""Answers that stand word for word elsewhere: what could be copied rather than worked out.

Texts are compared as `normalise` leaves them. What leaves this module are counts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from assay.data.normal import normalise

_KEY = 6
"""Words at the start of a question by which it is looked for; a shorter one is its own key."""
_WORD = re.compile(r"\S+")

Pair = tuple[str, str]
"""A question and its answer."""


def answers_in_rows(answers: Iterable[str], rows: Iterable[str]) -> int:
    """How many answers also are the answer of one of the rows."""
    known = {normalise(row) for row in rows}
    return sum(normalise(answer) in known for answer in answers)


def pairs_in_documents(pairs: Sequence[Pair], documents: Iterable[str]) -> int:
    """How many questions stand in a document that also holds their answer, both as whole words."""
    return len(find_pairs(pairs, documents))


def find_pairs(pairs: Sequence[Pair], documents: Iterable[str]) -> set[int]:
    """Places of the pairs of which a document holds both, as whole words.

    In time linear in the documents' length, as long as few questions begin alike.
    """
    wanted: dict[str, list[int]] = defaultdict(list)
    asked: list[Pair] = []  # as they stand in a text, with the spaces around whole words
    for place, pair in enumerate(pairs):
        question, answer = map(normalise, pair)
        asked.append((f"{question} ", f" {answer} "))
        if question and answer:
            wanted[" ".join(question.split()[:_KEY])].append(place)
    if not wanted:
        return set()
    lengths = sorted({len(key.split()) for key in wanted})
    found: set[int] = set()
    for document in documents:
        text = f" {normalise(document)} "
        starts = [match.start() for match in _WORD.finditer(text)]
        ends = [*starts[1:], len(text)]
        there = {
            place
            for length in lengths
            for word in range(len(starts) - length + 1)
            for place in wanted.get(text[starts[word] : ends[word + length - 1] - 1], ())
            if place not in found and text.startswith(asked[place][0], starts[word])
        }
        found |= {place for place in there if asked[place][1] in text}
    return found
