"""Calls as models write them."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from assay.chat.tool_text import Reader, call_schema, find_calls

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}},
            "required": ["city"],
        },
    },
}
STRICT = {**WEATHER, "function": {**WEATHER["function"], "strict": True}}


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
        '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}',
        '{"name": "weather", "parameters": {"city": "Oslo"}}',
        '<|python_tag|>{"name": "weather", "parameters": {"city": "Oslo"}}',
        '[{"name": "weather", "arguments": {"city": "Oslo"}}]',
        '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Oslo"}}]',
        '[TOOL_CALLS]weather[ARGS]{"city": "Oslo"}',
        'weather{"city": "Oslo"}',  # the same, as a text without control tokens
        '{"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}',
    ],
)
def test_every_familys_calls(text: str) -> None:
    said, [call] = find_calls(text, [WEATHER])
    assert said == ""
    assert (call.name, call.arguments) == ("weather", '{"city": "Oslo"}')
    assert call.id.startswith("call_")


@pytest.mark.parametrize(
    "text",
    [
        "It is sunny.",
        '{"name": "rain", "arguments": {}}',
        '{"city": "Oslo"}',
        "[1, 2]",
        "{",
        "",
        "<tool_call>nothing</tool_call>",
        '{"name": "weather", "arguments": 3}',
        'weather {"city": "Oslo"}',
        'weather{"city": "Oslo"} and rain{}',
        'weather{"city": "Oslo"',
        "[" * 100_000,
    ],
)
def test_what_is_no_call_is_text(text: str) -> None:
    assert find_calls(text, [WEATHER]) == (text, ())


def test_what_is_said_beside_a_call() -> None:
    call = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>'
    said, calls = find_calls(f"Let me see.\n{call}\n{call}", [WEATHER])
    assert (said, len(calls)) == ("Let me see.", 2)


MARKED = '<tool_call>\n{"name": "weather", "arguments": {"city": "A</tool_call>B"}}\n</tool_call>'


def test_an_argument_may_hold_the_closing_mark() -> None:
    for text, said, count in (
        (MARKED, "", 1),
        (f"Well. {MARKED}\n{MARKED} So.", "Well. \n So.", 2),
        (MARKED.removesuffix("\n</tool_call>"), "", 1),
    ):
        shown, calls = find_calls(text, [WEATHER])
        assert (shown, len(calls)) == (said, count)
        assert {call.arguments for call in calls} == {'{"city": "A</tool_call>B"}'}
    for text in (f"{MARKED[:-13]} x</tool_call>", f"{MARKED} <tool_call>[</tool_call>"):
        assert find_calls(text, [WEATHER]) == (text, ())


def test_strict_arguments_follow_their_schema() -> None:
    for arguments, count in (('{"city": "Oslo"}', 1), ('{"city": "oslo"}', 0), ("{}", 0)):
        text = f'{{"name": "weather", "arguments": {arguments}}}'
        assert len(find_calls(text, [STRICT])[1]) == count
        assert len(find_calls(text, [WEATHER])[1]) == 1


_EVIL = "^(a+)+$"
_A = f"{'a' * 60}!"
_TWICE = {
    f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
    for n in range(40)
}


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"a": {"pattern": _EVIL}}},
        {"properties": {"a": {"anyOf": [{"pattern": f"{_EVIL}|{n}"} for n in range(500)]}}},
        {"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#",
                              "pattern": _EVIL}}},
        {"$ref": "#/$defs/d0", "$defs": {**_TWICE, "d40": {"minProperties": 1}}},
        {"properties": {f"p{n}": {"type": "string"} for n in range(20_000)}, "required": ["p0"]},
        {"type": 3},
    ],
)  # fmt: skip
def test_a_schema_cannot_hold_up_the_server(parameters: dict[str, Any]) -> None:
    function = {"name": "f", "strict": True, "parameters": parameters}
    text = f'{{"name": "f", "arguments": {{"a": "{_A}"}}}}'
    began = time.monotonic()
    assert find_calls(text, [{"type": "function", "function": function}])[1] == ()
    assert time.monotonic() - began < 1


def test_patterns_of_names_are_not_looked_at() -> None:
    schema = {"patternProperties": {_EVIL: {"type": "null"}}, "additionalProperties": False}
    function = {"name": "f", "strict": True, "parameters": schema}
    text = f'{{"name": "f", "arguments": {{"{_A}": 1}}}}'
    assert len(find_calls(text, [{"type": "function", "function": function}])[1]) == 1


def test_blanks_cannot_hold_up_the_server() -> None:
    text = f"<tool_call>x{' ' * 100_000}y"
    began = time.monotonic()
    assert find_calls(text, [WEATHER]) == (text, ())
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("value", ['"\\ud800"', "1e999", "NaN"])
def test_arguments_that_cannot_be_sent_are_no_call(value: str) -> None:
    text = f'{{"name": "weather", "arguments": {{"city": {value}}}}}'
    assert find_calls(text, [WEATHER]) == (text, ())


def test_no_reference_is_fetched() -> None:
    function = {
        "name": "f",
        "strict": True,
        "parameters": {"$ref": "http://127.0.0.1:9/schema.json"},
    }
    text = '{"name": "f", "arguments": {}}'
    assert find_calls(text, [{"type": "function", "function": function}])[1] == ()


@given(
    text=st.text(alphabet='<tool_ca>/{"}:, x\n[', max_size=60)
    | st.just('Well. <tool_call>{"name": "weather", "arguments": {"city": "A"}}</tool_call> x')
    | st.just('weather{"city": "A"}weather{"city": "B"}')
    | st.just("weather, as it was{")
    | st.just(f"Well. {MARKED}"),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_a_stream_says_what_the_whole_says(text: str, cuts: list[int]) -> None:
    """However the text is cut, nothing of a call is shown, and nothing else is lost."""
    reader = Reader([WEATHER])
    places = [0, *sorted(cuts), len(text)]
    shown = "".join(reader.feed(text[a:b]) for a, b in pairwise(places))
    rest, calls = reader.end()
    said, whole = find_calls(text, [WEATHER])
    assert [c.arguments for c in calls] == [c.arguments for c in whole]
    assert (shown + rest).split() == said.split()


def test_the_schema_of_a_forced_call() -> None:
    schema = call_schema([WEATHER, {"type": "function", "function": {"name": "now"}}])
    assert [s["properties"]["name"]["const"] for s in schema["anyOf"]] == ["weather", "now"]


def test_references_of_parameters_lead_where_these_stand_in_the_call() -> None:
    def tool(name: str, value: str) -> dict[str, Any]:
        parameters = {
            "type": "object",
            "properties": {
                "x": {"$ref": "#/$defs/S"},
                "y": {"$ref": "#/properties/x"},
                "definitions": {"type": "string"},  # a name, no keyword
                "z": {"const": {"$ref": "#"}},  # a value, no reference
            },
            "$defs": {"S": {"enum": [value]}},
        }
        return {"type": "function", "function": {"name": name, "parameters": parameters}}

    for tools in ([tool("a", "a1")], [tool("a", "a1"), tool("b", "b1")]):
        validator = Draft202012Validator(call_schema(tools))
        good = {"x": "a1", "y": "a1", "definitions": "any", "z": {"$ref": "#"}}
        assert validator.is_valid({"name": "a", "arguments": good})
        for wrong in ({"x": "b1"}, {"y": "b1"}, {"definitions": 1}, {"z": {}}):
            assert not validator.is_valid({"name": "a", "arguments": wrong})
