"""What does not fit a schema, in words."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema.exceptions import best_match

from assay.data.json_schema import mismatches, schema_validator
from assay.data.mismatch import describe_mismatch

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "kind": {"enum": ["new", None, True]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "size": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "'name' is missing"),
        ([None], "it is [null], but must be a record"),
        ({"name": None}, "'name' is null, but must be text"),
        ({"name": "x", "kind": False}, "'kind' is false, which is not one of 'new', null, true"),
        ({"name": "x", "tags": ["a", {"b": 1}]}, "'tags' (entry 2) is {\"b\": 1}, but must be"),
        ({"name": "x", "zip": 1, "zap": 2}, "'zip', 'zap' are unknown fields"),
        ({"name": "x", "size": "q"}, "'size': 'q' is not valid under any"),
    ],
)
def test_a_value_is_told_as_it_stands_in_the_record(value: Any, said: str) -> None:
    worst = best_match(mismatches(schema_validator(SCHEMA, "here"), value, "here"))
    assert worst is not None
    assert describe_mismatch(worst).startswith(said)
