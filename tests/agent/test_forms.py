"""Structured output of a client whose record is that of the agent."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field, create_model

from assay.agent.agent import Agent
from assay.agent.answering import GenerationOptions, Target, prepare
from assay.agent.forms import is_within
from assay.data.json_schema import mismatches, schema_validator
from assay.data.propose import infer_schema
from assay.errors import UsageError
from assay.example import Message
from assay.store.store import Store

OWN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "branch": {"type": "string", "enum": ["north", "south"]},
        "count": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["branch", "count"],
    "additionalProperties": False,
}
FIELDS: dict[str, Any] = {"branch": str, "count": float | None}


def written(**fields: Any) -> dict[str, Any]:
    """The schema that openai's client sends for a class of these fields, which it requires."""
    made: type[BaseModel] = create_model("Order", **{k: (v, ...) for k, v in fields.items()})
    return to_strict_json_schema(made)


CLOSED = OWN | {"required": ["branch", "count", "tags"]}


class Branch(Enum):
    NORTH = "north"
    SOUTH = "south"


class Line(BaseModel):
    item: str
    branch: Branch


LINE = {"item": "rolls", "branch": "north"}
FOUND = infer_schema(
    [
        {"kind": kind, "line": line, "lines": [LINE | {"branch": branch}], "size": 1}
        for kind in ("new", "old", None)
        for branch in ("north", "south")
        for line in (LINE | {"branch": branch}, None)
        for _ in range(2)
    ]
)
"""What `init` proposes, where a closed list and a record may be null."""
SAME: dict[str, Any] = {
    "kind": Literal["new", "old"] | None,
    "line": Line | None,
    "lines": list[Line],
    "size": int,
}
DATED = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "pattern": "^[0-9]+$"},
        "sizes": {"$ref": "#/$defs/S"},
    },
    "required": ["day", "sizes"],
    "additionalProperties": False,
    "$defs": {"S": {"type": "array", "prefixItems": [{"type": "string"}], "items": {"const": 1}}},
}
NAMED = {
    "type": "object",
    "patternProperties": {"^a": {"type": "string"}},
    "additionalProperties": False,
}
TWICE: dict[str, Any] = {
    "$ref": "#/$defs/d0",
    "$defs": {
        f"d{n}": {"properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "ab"}}
        for n in range(60)
    }
    | {"d60": {}},
}
"""References that come to 2 ** 60 parts."""


@pytest.mark.parametrize(
    ("own", "asked", "is_same"),
    [
        (CLOSED, written(**FIELDS, tags=list[str]), True),
        (
            CLOSED,
            written(**FIELDS | {"branch": Literal["north", "south", "west"]}, tags=list[str]),
            True,
        ),
        (CLOSED, written(**FIELDS | {"branch": Literal["north"]}, tags=list[str]), False),
        (CLOSED, written(**FIELDS | {"count": int}, tags=list[str]), False),  # it may be null
        (CLOSED, written(**FIELDS | {"count": str | None}, tags=list[str]), False),
        (CLOSED, written(**FIELDS, tags=list[int]), False),
        (CLOSED, written(**FIELDS), False),  # no further fields
        (CLOSED, written(**FIELDS, tags=list[str], note=str), False),
        (OWN, written(**FIELDS, tags=list[str]), False),  # it may lack tags
        ({k: v for k, v in OWN.items() if k != "additionalProperties"}, {"type": "object"}, True),
        ({"type": "object"}, OWN, False),
        (OWN, {"type": "array"}, False),
        (OWN, {"type": "object", "maxProperties": 9}, False),
        (OWN, True, True),
        (FOUND, written(**SAME), True),
        (FOUND, written(**SAME | {"kind": Literal["new"] | None}), False),
        (FOUND, written(**SAME | {"kind": Literal["new", "old"]}), False),  # it may be null
        (FOUND, written(**SAME | {"line": Line}), False),
        (FOUND, FOUND | {"title": "Order"}, True),
        (DATED, DATED, True),
        (DATED, written(day=Annotated[str, Field(pattern="^[0-9]+$")], sizes=list), True),
        (DATED, written(day=Annotated[str, Field(pattern="^[0-9]*$")], sizes=list), False),
        (DATED, written(day=str, sizes=list[int]), False),  # the first is a text
        (NAMED, {"properties": {"abc": {"type": "integer"}}, "additionalProperties": False}, False),
        (NAMED, {"type": "object"}, True),
        (NAMED | {"patternProperties": {}, "required": ["a"]}, {"required": ["a", "b"]}, False),
        ({"properties": {"a": {"const": "x"}}}, {"properties": {"a": {"const": "x"}}}, True),
        ({"enum": [1]}, {"enum": [True]}, False),
        ({"type": "string", "enum": ["a", 1]}, {"const": "a"}, True),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, written(), False),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {"additionalProperties": {"type": "number"}},
            True,
        ),
        (TWICE, TWICE | {"title": "Twice"}, False),
        ({"$ref": "#/$defs/none"}, {"$ref": "#/$defs/none", "title": "Nothing"}, False),
    ],
)
def test_which_forms_hold_every_answer_of_the_agent(
    own: dict[str, Any], asked: Any, is_same: bool
) -> None:
    assert is_within(own, asked) == is_same


NAMES = st.sampled_from("ab")
VALUES = st.recursive(
    st.sampled_from([None, True, 0, 1, 1.5, "a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
KINDS = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


def parts(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    keywords = {
        "type": KINDS | st.lists(KINDS, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "properties": st.dictionaries(NAMES, inner, max_size=2),
        "patternProperties": st.dictionaries(st.just("^a"), inner, max_size=1),
        "additionalProperties": inner,
        "required": st.lists(NAMES, unique=True),
        "items": inner,
        "prefixItems": st.lists(inner, min_size=1, max_size=1),
        "minimum": st.sampled_from([0, 1]),
        "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
    }
    return st.lists(st.sampled_from(sorted(keywords)), max_size=3, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: keywords[key] for key in keys})
    )


SIMPLE = st.booleans() | st.fixed_dictionaries({"type": KINDS})
SCHEMAS = st.recursive(SIMPLE, parts, max_leaves=4).filter(lambda made: isinstance(made, dict))
DEFINED = st.fixed_dictionaries({"$defs": st.fixed_dictionaries({"x": SIMPLE, "y": SIMPLE})})


@given(SCHEMAS, SCHEMAS, SCHEMAS, DEFINED, DEFINED, st.lists(VALUES, min_size=9, max_size=9))
def test_a_form_is_within_another_only_where_each_value_fits_both(
    shared: Any, more: Any, other: Any, mine: Any, theirs: Any, values: list[Any]
) -> None:
    own, asked = more | shared | mine, other | shared | theirs
    if is_within(own, asked):
        fitting, wanted = (schema_validator(one, "") for one in (own, asked))
        for value in values:
            assert any(mismatches(fitting, value, "")) or not any(mismatches(wanted, value, ""))


KEYWORDS = ["$ref", "$defs", "type", "enum", "const", "anyOf", "properties", "required", "items"]
WORDS = st.sampled_from([*KEYWORDS, "additionalProperties", "minimum", "#/$defs/a", "a", "number"])
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
)


@given(own=ANY, asked=ANY)
@example(own=OWN, asked={"properties": {"branch": {"type": "string", "required": 5}}})
@example(own={"type": "string"}, asked={"required": [{}]})
@example(own={"type": "number"}, asked={"required": None})
@example(own={"type": "object"}, asked={"properties": []})
def test_a_form_that_is_no_schema_is_compared_as_well(own: Any, asked: Any) -> None:
    assert is_within(own, asked) in {True, False}


@pytest.mark.parametrize(
    "key", ["$ref", "type", "enum", "anyOf", "properties", "required", "items"]
)
def test_a_keyword_that_is_not_of_its_kind_holds_no_answer(key: str) -> None:
    assert not is_within(OWN, OWN | {key: 5})


@pytest.mark.parametrize(
    ("agent", "options", "is_taken"),
    [
        (
            Agent(model="m", constrained=True, output_schema=OWN),
            GenerationOptions(json_object=True),
            True,
        ),
        (
            Agent(model="m", constrained=True, output_schema=OWN),
            GenerationOptions(schema=OWN),
            True,
        ),
        (
            Agent(model="m", constrained=True, output_schema=OWN),
            GenerationOptions(schema={"type": "array"}),
            False,
        ),
        (
            Agent(model="m", constrained=True, output_schema={"type": "array"}),
            GenerationOptions(json_object=True),
            False,
        ),
        (
            Agent(model="m", constrained=True, choices=("a", "b")),
            GenerationOptions(json_object=True),
            False,
        ),
    ],
)
def test_a_client_may_ask_for_the_form_that_the_agent_enforces(
    tmp_path: Path, agent: Agent, options: GenerationOptions, is_taken: bool
) -> None:
    target = Target("orders", "m", agent)
    said, store = [Message("user", "two rolls")], Store(tmp_path)
    if not is_taken:
        with pytest.raises(UsageError, match="cannot set another"):
            prepare(target, said, [], options, store)
        return
    [call] = prepare(target, said, [], options, store)
    assert (call.sampling.schema, call.sampling.json_object) == (agent.output_schema, False)


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_agent_answers_no_empty_message(tmp_path: Path, text: str) -> None:
    said, store, options = [Message("user", text)], Store(tmp_path), GenerationOptions()
    with pytest.raises(UsageError, match="nothing to answer"):
        prepare(Target("orders", "m", Agent(model="m")), said, [], options, store)
    assert prepare(Target("m", "m"), said, [], options, store)  # a bare model answers anything
