"""Whether answers of an agent's form have the form that a client asks for as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOTES = {"$schema", "$comment", "title", "description", "default", "examples", "deprecated"}
"""Keywords that no value fails."""
_LOOKED_AT = {"type", "enum", "anyOf", "properties", "required", "additionalProperties", "items"}


def is_within(own: Any, asked: Any) -> bool:
    """Whether every value that fits one JSON Schema fits another, as clients write them of classes
    (pydantic's): false as well where the other has a keyword that is not looked at."""
    if asked is True:
        return True
    if not isinstance(own, Mapping) or not isinstance(asked, Mapping):
        return False
    if asked.keys() - _NOTES - _LOOKED_AT:
        return False
    if "type" in asked and not _kinds(own) <= _kinds(asked):
        return False
    if "enum" in asked and not ("enum" in own and all(one in asked["enum"] for one in own["enum"])):
        return False
    if "anyOf" in asked and not all(
        any(is_within({**own, "type": kind}, one) for one in asked["anyOf"]) for kind in _kinds(own)
    ):
        return False
    if "items" in asked and not is_within(own.get("items", {}), asked["items"]):
        return False
    return _fields_are_within(own, asked)


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    found = schema.get("type", "any")
    kinds = {found} if isinstance(found, str) else set(found)
    return kinds | {"integer"} if "number" in kinds else kinds


def _fields_are_within(own: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    if not set(asked.get("required", ())) <= set(own.get("required", ())):
        return False
    mine, theirs = own.get("properties", {}), asked.get("properties", {})
    is_closed = own.get("additionalProperties") is False
    for name, field in theirs.items():
        if name in mine:
            if not is_within(mine[name], field):
                return False
        elif not is_closed:
            return False
    others = asked.get("additionalProperties", True)
    return others is True or (is_closed and mine.keys() <= theirs.keys())
