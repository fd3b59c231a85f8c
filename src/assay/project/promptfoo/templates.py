"""Places in promptfoo's texts: `{{name}}` and `{{name.field}}` stand for variables of the test.

Of Nunjucks nothing else is done: a text with a filter, a condition or the environment says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from assay.errors import UsageError

_PLACE = re.compile(r"\{\{-?\s*([A-Za-z_][\w]*(?:\.\w+)*)\s*-?\}\}")
_ANY = re.compile(r"\{\{|\{%|\{#")
LONGEST = 1 << 20
"""Characters of a text with its variables in it."""


def fault_of(text: str) -> str | None:
    """Why a text cannot be filled in; None: it can."""
    if _ANY.search(_PLACE.sub("", text)):
        return "it has a filter, a condition or a comment of Nunjucks, which is not read here"
    if any(name.partition(".")[0] in ("env", "process") for name in _PLACE.findall(text)):
        return "variables of the environment are not read"
    return None


def first_place(text: str) -> int | None:
    """Where the first variable begins; None: there is none."""
    found = _PLACE.search(text)
    return found.start() if found else None


def fill(text: str, variables: Mapping[str, Any]) -> str:
    """The text with its variables put in; one that the test does not have is left out.

    Raises:
        UsageError: it is too long.
    """

    room = LONGEST

    def put(found: re.Match[str]) -> str:
        nonlocal room
        value: Any = variables
        for part in found[1].split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        written = text_of(value)
        room -= len(written)
        if room < 0:
            raise UsageError(f"a text with its variables has more than {LONGEST} characters.")
        return written

    return _PLACE.sub(put, text)


def fill_all(value: Any, variables: Mapping[str, Any]) -> Any:
    """As `fill`, of every text in a value."""
    if isinstance(value, str):
        return fill(value, variables)
    if isinstance(value, list):
        return [fill_all(one, variables) for one in value]
    if isinstance(value, dict):
        return {name: fill_all(one, variables) for name, one in value.items()}
    return value


def texts_in(value: Any) -> list[str]:
    """Every text in a value."""
    if isinstance(value, str):
        return [value]
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in below for text in texts_in(one)]


def text_of(value: Any) -> str:
    """A value as a text has it: texts as they are, null as nothing, all else as JavaScript's JSON,
    which writes 5.0 as 5."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(_whole(value), ensure_ascii=False)


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {k: _whole(v) for k, v in value.items()} if isinstance(value, dict) else value
