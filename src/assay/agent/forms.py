"""Whether answers of an agent's form have the form that a client asks for as well."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from assay import json_reader
from assay.example import canonical_json

_NOTES = {
    *("$schema", "$comment", "$defs", "definitions"),
    *("title", "description", "default", "examples", "deprecated"),
}
"""Keywords that no value fails."""
_ALIKE = {
    *("pattern", "format", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
}
"""Keywords that must be the same on both sides: whether one is narrower is not looked at."""
_SHAPES: dict[str, Any] = {
    "$ref": str,
    "type": (str, list),
    "enum": list,
    "const": object,
    "anyOf": list,
    "properties": Mapping,
    "required": list,
    "additionalProperties": (Mapping, bool),
    "items": (Mapping, bool),
}
"""The keywords that are looked at, and what each has to be: what decoding does not need of a
client's schema nobody has checked."""
_KIND_OF = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_Within = Callable[[Any, Any], bool]
_LOCAL = re.compile(r"#/(\$defs|definitions)/([\w.-]+)")
_DEEPEST = 64
_MOST_KEPT = 2**16
"""Characters of two schemas that are remembered as compared."""
_MOST_PARTS = 100_000
"""That are gone through: references that name each other twice come to 2 ** n."""


def is_within(own: Any, asked: Any) -> bool:
    """Whether every value that fits one JSON Schema fits another.

    It is told where both are the same, and of the keywords that clients write of classes
    (pydantic's). False as well where the other has a keyword that is not looked at, is no schema,
    or is too deep or too large to be gone through, as a class that holds itself is.
    """
    own_text, asked_text = canonical_json(own), canonical_json(asked)
    if len(own_text) + len(asked_text) > _MOST_KEPT:
        return _is_within.__wrapped__(own_text, asked_text)
    return _is_within(own_text, asked_text)


@lru_cache(maxsize=64)
def _is_within(own_text: str, asked_text: str) -> bool:
    """Once for two schemas: a client asks for the same with every request."""
    if own_text == asked_text:
        return True
    if json_reader.is_too_deep(own_text) or json_reader.is_too_deep(asked_text):
        return False
    own, asked = json_reader.read(own_text), json_reader.read(asked_text)
    return _Comparison(own, asked).is_within(own, asked)


class _Comparison:
    """Of parts of two schemas; what they refer to is in the whole ones."""

    def __init__(self, own: Any, asked: Any) -> None:
        self._own, self._asked, self._left = own, asked, _MOST_PARTS

    def is_within(self, own: Any, asked: Any, depth: int = 0) -> bool:
        if own is False or asked is True:
            return True
        own = {} if own is True else own
        if not (_is_well_formed(own) and _is_well_formed(asked)):
            return False
        self._left -= _size(own) + _size(asked)
        if self._left < 0 or depth > _DEEPEST:
            return False
        within = partial(self.is_within, depth=depth + 1)
        if "$ref" in own and within(_target(self._own, own["$ref"]), asked):
            return True
        if own.get("anyOf") and all(within(one, asked) for one in own["anyOf"]):
            return True
        own = {key: part for key, part in own.items() if key not in ("$ref", "anyOf")}
        if "$ref" in asked and not within(own, _target(self._asked, asked["$ref"])):
            return False
        return _is_value_within(own, asked, within)


def _is_value_within(own: Mapping[str, Any], asked: Mapping[str, Any], within: _Within) -> bool:
    kinds, listed = _kinds(own), None
    if lists := _lists(own):
        listed = [value for value in lists[0] if _kind(value) in kinds]
        kinds = {_kind(value) for value in listed}
    if not kinds <= _kinds(asked) or not _is_alike(own, asked):
        return False
    for allowed in _lists(asked):
        spelled = {canonical_json(value) for value in allowed if _kind(value) in kinds}
        if listed is None or not {canonical_json(value) for value in listed} <= spelled:
            return False
    if "anyOf" in asked and not all(
        any(within({**own, "type": kind}, one) for one in asked["anyOf"]) for kind in kinds
    ):
        return False
    if "array" in kinds and "items" in asked:
        items = True if "prefixItems" in own else own.get("items", True)
        if not within(items, asked["items"]):
            return False
    return "object" not in kinds or _are_fields_within(own, asked, within)


def _is_alike(own: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether each keyword that is not looked into is on both sides, or one that no value fails."""
    return all(
        key in _NOTES
        or (key in _ALIKE and key in own and canonical_json(own[key]) == canonical_json(part))
        for key, part in asked.items()
        if key not in _SHAPES
    )


def _are_fields_within(own: Mapping[str, Any], asked: Mapping[str, Any], within: _Within) -> bool:
    if not set(asked.get("required", ())) <= set(own.get("required", ())):
        return False
    mine, theirs = own.get("properties", {}), asked.get("properties", {})
    rest = True if "patternProperties" in own else own.get("additionalProperties", True)
    others = asked.get("additionalProperties", True)
    return within(rest, others) and all(
        within(mine.get(name, rest), theirs.get(name, others))
        for name in mine.keys() | theirs.keys()
    )


def _is_well_formed(schema: Any) -> bool:
    return (
        isinstance(schema, Mapping)
        and all(isinstance(schema[key], _SHAPES[key]) for key in schema.keys() & _SHAPES.keys())
        and all(isinstance(one, str) for key in ("type", "required") for one in schema.get(key, ()))
    )


def _size(schema: Mapping[str, Any]) -> int:
    return 1 + sum(len(part) for part in schema.values() if isinstance(part, (list, Mapping)))


def _target(schema: Any, reference: str) -> Any:
    """What a reference within a schema names; None, which is no schema, if it is none."""
    found = _LOCAL.fullmatch(reference)
    definitions = schema.get(found[1]) if found else None
    return definitions.get(found[2]) if found and isinstance(definitions, Mapping) else None


def _lists(schema: Mapping[str, Any]) -> list[list[Any]]:
    """The values that a schema allows, by each keyword that lists some."""
    found = [key for key in ("const", "enum") if key in schema]
    return [[schema[key]] if key == "const" else schema[key] for key in found]


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    found = schema.get("type", _KIND_OF.values())
    kinds = {found} if isinstance(found, str) else set(found)
    return kinds | {"integer"} if "number" in kinds else kinds


def _kind(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()  # JSON Schema takes 1.0 for an integer
    return "integer" if whole else _KIND_OF[type(value)]
