"""Texts that make a pattern slow, from its own parts: see `patterns.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

_STOCK = " \n\t#{}[]()<>-_.,:;/@+*|`\"'\\!0a7Zé\x00"
_ENDS = ("", "\x00", "\n", "a")
_FLAGS = re.IGNORECASE | re.VERBOSE | re.DOTALL | re.MULTILINE


@dataclass(frozen=True)
class Attack:
    """A text of any length: a start, a unit repeated until the length is reached, an end."""

    start: str
    unit: str
    end: str

    def text(self, length: int) -> str:
        """About `length` characters, with the unit at least once."""
        times = max(1, (length - len(self.start)) // len(self.unit))
        return self.start + self.unit * times + self.end


def attacks(pattern: Any, length: int) -> list[Attack]:
    """Attacks from the pattern's own parts and a stock of signs: one for each text of `length`."""
    by_text: dict[str, Attack] = {}
    for before, body in sorted(_parts(pattern)):
        for unit, start in ((body, before), (before + body, ""), (before, "")):
            for end in _ENDS if unit else ():
                attack = Attack(start, unit, end)
                by_text.setdefault(attack.text(length), attack)
    return list(by_text.values())


@lru_cache(maxsize=1)
def _parts(pattern: Any) -> set[tuple[str, str]]:
    """(what stands before, body) of what is repeated: each pattern is attacked at many lengths."""
    text = pattern.pattern
    shape = text.decode("latin-1") if isinstance(text, bytes) else text
    try:
        tree = _parser.parse(shape, pattern.flags & _FLAGS)
        parts = set(_repeats(tree, [""], _alphabet(tree)))
        letters = _alphabet(tree)
    except (re.error, ValueError):  # what only `regex` knows
        parts, letters = set(), _STOCK
    parts |= {("", sign) for sign in letters}
    pairs = {("", one + other) for one in letters[:12] for other in letters[:12] if one != other}
    return parts | pairs


def _alphabet(tree: Any) -> str:
    """Signs that the pattern names, then the stock."""
    own: list[str] = []

    def visit(node: Any) -> None:
        if isinstance(node, tuple) and len(node) == 2 and node[0] in (sre.LITERAL, sre.NOT_LITERAL):
            own.append(chr(node[1]))
        elif isinstance(node, (tuple, list, _parser.SubPattern)):
            for one in node:
                visit(one)

    visit(tree)
    return "".join(dict.fromkeys([*own[:40], *_STOCK]))


def _repeats(tree: Any, before: list[str], letters: str) -> Iterator[tuple[str, str]]:
    """(what stands before, body) of each part that may repeat often, for several of both."""
    for node in tree:
        kind, value = node
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            if value[1] > 8:
                bodies = [body for body in _samples(value[2], letters, 8) if body]
                yield from ((start, body) for start in before for body in bodies)
            yield from _repeats(value[2], before, letters)
        elif kind is sre.BRANCH:
            for branch in value[1]:
                yield from _repeats(branch, before, letters)
        elif kind is sre.SUBPATTERN:
            yield from _repeats(value[3], before, letters)
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            yield from _repeats(value[1], before, letters)
        elif kind is sre.ATOMIC_GROUP:
            yield from _repeats(value, before, letters)
        after = _samples([node], letters, 2)
        before = [a + b for a in before for b in after][:2]


def _samples(tree: Any, letters: str, most: int) -> list[str]:
    """Up to `most` short texts that fit, as far as it is easily told."""
    whole = [""]
    for kind, value in tree:
        if kind in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
            items = value if kind is sre.IN else [(kind, value)]
            parts = [sign for sign in letters if _fits(items, sign)][:most] or [""]
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            inner = _samples(value[2], letters, most)
            parts = [one * max(1, value[0]) for one in inner]
            if value[0] == 0:
                parts = ["", *parts]
        elif kind is sre.BRANCH:
            parts = [one for branch in value[1] for one in _samples(branch, letters, 1)][:most]
        elif kind is sre.SUBPATTERN:
            parts = _samples(value[3], letters, most)
        elif kind is sre.ATOMIC_GROUP:
            parts = _samples(value, letters, most)
        else:
            parts = [""]
        whole = [a + b for b in parts for a in whole][:most]
    return whole


def _fits(items: Any, sign: str) -> bool:
    negated, found = False, False
    for kind, value in items:
        if kind is sre.NEGATE:
            negated = True
        elif kind is sre.ANY:
            found |= sign != "\n"
        elif kind is sre.LITERAL:
            found |= ord(sign) == value
        elif kind is sre.NOT_LITERAL:
            found |= ord(sign) != value
        elif kind is sre.RANGE:
            found |= value[0] <= ord(sign) <= value[1]
        elif kind is sre.CATEGORY:
            found |= _in_category(str(value), sign)
    return found != negated


def _in_category(name: str, sign: str) -> bool:
    kind = name.lower().rpartition("_")[2]
    word = sign.isalnum() or sign == "_"
    inside = {"digit": sign.isdigit(), "space": sign.isspace(), "word": word}[kind]
    return inside != ("not_" in name.lower())
