"""Why a value does not fit a JSON Schema, for a person who has never seen one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from assay.data.formats.record import shorten
from assay.data.privacy import mask
from assay.quantities import say_count

if TYPE_CHECKING:
    from jsonschema import ValidationError

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a record",
    "null": "null",
}
_SHOWN = 10
"""Fields and values that a sentence names."""


def describe_mismatch(error: ValidationError) -> str:
    """What is wrong, as a clause: a missing or unknown field, another type, a value of no list.
    What is quoted of the value is masked and shortened."""
    at = _place(error.absolute_path)
    value: Any = error.instance
    wanted: Any = error.validator_value
    schema: Any = error.schema
    inside = f" in {at}" if at else ""
    what = at or "it"
    if error.validator == "required":
        missing = [name for name in wanted if name not in value]
        return f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing{inside}"
    if error.validator == "type":
        names = [wanted] if isinstance(wanted, str) else wanted
        kinds = " or ".join(_TYPES.get(name, str(name)) for name in names)
        return f"{what} is {_quoted(value)}, but must be {kinds}"
    if error.validator == "enum" and isinstance(wanted, list):
        return f"{what} is {_quoted(value)}, which is not one of {_listed(wanted)}"
    if error.validator == "additionalProperties" and isinstance(value, dict) and not wanted:
        unknown = [name for name in value if name not in schema.get("properties", ())]
        if unknown and not schema.get("patternProperties"):
            are = "is an unknown field" if len(unknown) == 1 else "are unknown fields"
            return f"{_listed(unknown)} {are}{inside}"
    said = shorten(mask(error.message), 160)
    return f"{at}: {said}" if at else said


def _place(path: Iterable[str | int]) -> str:
    """Where a value stands in its record: 'address', 'tags' (entry 2); empty: it is the whole."""
    said = ""
    for step in path:
        if isinstance(step, int):
            said += f" (entry {step + 1})"
        else:
            said += f"{', ' if said else ''}{_quoted(step)}"
    return said.strip()


def _listed(values: Iterable[Any]) -> str:
    named = [_quoted(value) for value in values]
    more = len(named) - _SHOWN
    return ", ".join(named[:_SHOWN]) + (f" and {say_count(more, 'other')}" if more > 0 else "")


def _quoted(value: Any) -> str:
    """As it stands in the record (true, null), a text in single quotation marks."""
    said = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(mask(said), 60)
