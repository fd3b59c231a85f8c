"""What pydantic finds wrong with a setting, in words of people."""

from __future__ import annotations

import re
from typing import Any

from assay.quantities import write_number

_PARSED = {"int_parsing": "a whole number", "float_parsing": "a number"}
_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_KINDS = {
    "int_from_float": "it should be a whole number",
    "int_type": "it should be a whole number",
    "float_type": "it should be a number",
    "string_type": "it should be text",
}
"""Problems by the names that pydantic has for them."""
_WHAT = re.compile(r"^(Input|String|List|Tuple|Dictionary) should")


def sentence(raw: Any) -> str:
    """What pydantic found, as a sentence."""
    kind, message = raw["type"], str(raw["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        message = "there is no such setting"
    elif kind == "missing":
        message = "this setting is missing"
    elif kind in _PARSED:  # a text that should have been something else
        message = f"it should be {_PARSED[kind]}, not {raw['input']!r:.60}"
    elif kind in _LIMITS:
        words, name = _LIMITS[kind]
        message = f"it should be {words} {write_number(raw['ctx'][name])}"
    elif kind == "too_short":
        least = raw["ctx"]["min_length"]
        message = f"it needs at least {'one entry' if least == 1 else f'{least} entries'}"
    else:
        message = _KINDS.get(kind, message)
    return _WHAT.sub("it should", message).rstrip(".") + "."
