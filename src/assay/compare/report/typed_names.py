"""What is typed, in a sentence that people read: it stands there in backquotes, as a command line
shows it, and a page shows it as code."""

from __future__ import annotations

import re

_TYPED = re.compile(r"`([^`\n]+)`")


def divide(sentence: str) -> list[tuple[str, bool]]:
    """The sentence in parts, without backquotes around what is typed, and whether each is typed."""
    parts = enumerate(_TYPED.split(sentence))
    return [(part, place % 2 == 1) for place, part in parts if part]
