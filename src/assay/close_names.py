"""The name that somebody probably meant who wrote one that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterable

SIMILAR = 0.66
"""Of the characters of the longer name, at least, that are right: one in three may be added, lost,
replaced or swapped with the next."""
LEAST_CHARACTERS = 3
"""Of a part of a name, by which the whole is found."""


def find_close_name(name: str, names: Iterable[str]) -> str | None:
    """The name that is nearly the one that was written, or has it as words of its own; case is
    ignored. None: nothing is like it, and a guess would mislead."""
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    known = list(names)
    best = process.extractOne(
        name,
        known,
        scorer=OSA.normalized_similarity,
        processor=str.lower,
        score_cutoff=SIMILAR,
    )
    if best is not None:
        return str(best[0])
    if len(name.strip()) < LEAST_CHARACTERS:
        return None
    words = re.compile(rf"(?<![^\W_]){re.escape(name.strip())}(?![^\W_])", re.IGNORECASE)
    return min((one for one in known if words.search(one)), key=len, default=None)
