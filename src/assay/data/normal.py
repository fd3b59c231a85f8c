"""When two texts count as the same, and how near two others are: the words of the overlap gate.

*Exact* means equal after `normalise`; *near* means an exact Jaccard similarity of the character
5-grams of the normalised texts above 0.9.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache

GRAM = 5
"""Characters of a gram."""


def normalise(text: str) -> str:
    """NFKC, casefold, punctuation to space, white space collapsed.

    A text of nothing but punctuation keeps it: `?` and `!` are not the same question.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_PUNCTUATION).split()) or " ".join(folded.split())


class _Punctuation(dict[int, int]):
    """A table for `str.translate` that looks a character up when it first meets it."""

    def __missing__(self, code: int) -> int:
        punctuation = unicodedata.category(chr(code)).startswith("P")
        self[code] = ord(" ") if punctuation else code
        return self[code]


_PUNCTUATION = _Punctuation()


def grams(text: str) -> frozenset[str]:
    """The character 5-grams of a normalised text; a shorter text is one gram."""
    return frozenset(text[i : i + GRAM] for i in range(max(len(text) - GRAM + 1, 1)))


_grams = lru_cache(maxsize=8192)(grams)


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of the grams of two normalised texts, 0 to 1."""
    left, right = _grams(a), _grams(b)
    common = len(left & right)
    return common / (len(left) + len(right) - common)


def is_near(a: str, b: str) -> bool:
    """True when `similarity(a, b) > 0.9`, in whole numbers, so that 0.9 itself never counts."""
    left, right = _grams(a), _grams(b)
    common = len(left & right)
    return 10 * common > 9 * (len(left) + len(right) - common)


def key64(text: str) -> int:
    """64 bits that stand for a text; two million texts collide with a chance of 1e-7."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
