"""Calls held against the tools of their row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.data.calls import find_call_problems
from assay.data.checks import check
from assay.example import Example, Message, ToolCall

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "forecast",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
QUESTION = Message("user", "What will it be like in Bern?")


def calling(*calls: tuple[str, str], tools: tuple[dict[str, Any], ...] = (TOOL,)) -> Example:
    made = tuple(ToolCall(f"c{n}", name, text) for n, (name, text) in enumerate(calls))
    return Example("1", (QUESTION, Message("assistant", "", made)), tools)


GOOD = calling(("forecast", '{"city": "Bern"}'))


def taking(parameters: Any) -> dict[str, Any]:
    """The tool with other parameters."""
    return {"type": "function", "function": {"name": "forecast", "parameters": parameters}}


UNTYPED = taking({"type": "dict"})
OUT = {"properties": {"city": {"$ref": "elsewhere.json"}}}
TWICE = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, 40)}
BRANCHING = {"$ref": "#/$defs/a39", "$defs": {"a0": {}, **TWICE}}


@pytest.mark.parametrize(
    ("example", "code", "said"),
    [
        (replace(GOOD, tools=()), "no-tools", "offers no tools"),
        (calling(("forcast", "{}")), "unknown-function", "forcast"),
        (calling(("forecast", "{}")), "arguments-mismatch", ": 'city' is missing."),
        (calling(("forecast", '{"city": 3}')), "arguments-mismatch", ": 'city' is 3, but"),
        (calling(("forecast", "{}"), tools=(UNTYPED,)), "bad-tools", "not a JSON Schema"),
        (calling(("forecast", "{}"), tools=(taking(5),)), "bad-tools", "not an object"),
        (calling(("forecast", "{}"), tools=(taking(True),)), "bad-tools", "not an object"),
        (calling(("forecast", "{}"), tools=(taking({"$schema": 5}),)), "bad-tools", "`$schema`"),
        (calling(("forecast", '{"city": 3}'), tools=(taking(OUT),)), "bad-tools", "be resolved"),
        (calling(("forecast", "{}"), tools=(taking(BRANCHING),)), "bad-tools", "are followed more"),
        (calling(("forecast", '{"city": "B"}'), tools=(TOOL, TOOL)), "bad-tools", "same name"),
        (replace(GOOD, possible=({}, {})), "bad-possible", "2 entries for the 1 call of"),
        (replace(GOOD, possible=({"optional": ["town"]},)), "bad-possible", "'town'"),
    ],
)
def test_each_thing_that_is_wrong_is_named(example: Example, code: str, said: str) -> None:
    [(found, message, fix, _)] = find_call_problems(example)
    assert found == code
    assert said in message
    assert fix


def test_calls_of_one_turn_need_ids_of_their_own() -> None:
    call = ToolCall("c", "forecast", '{"city": "Bern"}')
    twice = replace(GOOD, messages=(QUESTION, Message("assistant", "", (call, call))))
    assert [found[0] for found in find_call_problems(twice)] == ["bad-tool-call"]


def test_a_close_name_is_proposed() -> None:
    [(_, _, fix, _)] = find_call_problems(calling(("forcast", "{}")))
    assert fix == "Did you mean forecast?"


def test_a_call_as_text_counts_in_the_target_alone() -> None:
    """Rows of an opened holdout may have one before, and nothing that was said is learned."""
    said = Message("assistant", '<tool_call>{"name": "forcast"}</tool_call>')
    assert not list(find_call_problems(replace(GOOD, messages=(QUESTION, said, *GOOD.messages))))
    [(code, *_)] = find_call_problems(replace(GOOD, messages=(QUESTION, said)))
    assert code == "bad-tool-call"


def test_rows_are_held_against_it_where_the_task_is_tools_or_the_target_calls(
    tmp_path: Path,
) -> None:
    good, bad = GOOD.to_dict(), calling(("forecast", "{}")).to_dict()
    words = replace(GOOD, messages=(QUESTION, Message("assistant", "Sunny.")), tools=()).to_dict()
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(json.dumps({**one, "id": n}) + "\n" for n, one in enumerate((good, bad, words)))
    )
    assert check(file).counts["arguments-mismatch"] == 1
    assert "no-tools" not in check(file).counts
    report = check(file, task="tools")
    assert (report.valid, report.rejected) == (1, 2)
    assert report.counts["no-tools"] == 1
    assert "arguments-mismatch" not in check(file, task="text").counts
