"""Structured output of a client whose record is that of the agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, create_model

from assay.agent.agent import Agent
from assay.agent.answering import GenerationOptions, Target, prepare
from assay.agent.forms import is_within
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
    ],
)
def test_which_forms_hold_every_answer_of_the_agent(
    own: dict[str, Any], asked: Any, is_same: bool
) -> None:
    assert is_within(own, asked) == is_same


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
