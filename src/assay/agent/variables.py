"""Variables of a system prompt: `{{name}}` stands for a value that the agent gives.

Filling is one pass over the prompt: a value is text, whatever stands in it, and is never filled
itself. What no variable is called stays as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PLACE = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]{0,99}) *\}\}")


def fill(prompt: str, variables: Mapping[str, str]) -> str:
    """The prompt with the value of each variable in its places."""
    if not variables:
        return prompt
    return _PLACE.sub(lambda found: variables.get(found[1], found[0]), prompt)


def find_unused(prompt: str, variables: Mapping[str, str]) -> list[str]:
    """The variables that the prompt has no place for."""
    used = {found[1] for found in _PLACE.finditer(prompt)}
    return [name for name in variables if name not in used]


def find_undeclared(prompt: str, variables: Mapping[str, str]) -> list[str]:
    """The places of a prompt that no variable is called like, as they are written, each once."""
    places = {found[0]: found[1] for found in _PLACE.finditer(prompt)}
    return [place for place, name in places.items() if name not in variables]


def check_name(name: str) -> str:
    """A name that a variable can have.

    Raises:
        ValueError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            "a variable name consists of letters, digits and _, and does not begin with a digit"
        )
    return name
