"""Conversations: OpenAI chat and ShareGPT, with every rule on turns, tools and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.data.formats.openai_chat import SHAPE
from assay.data.formats.record import RecordProblems
from assay.data.read import Row, detect, read
from assay.example import Example

USER = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Bern"}'},
}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "12 degrees"}


def call_with(arguments: str, name: str = "weather") -> dict[str, Any]:
    return {**CALLS, "tool_calls": [{**CALL, "function": {"name": name, "arguments": arguments}}]}


SYSTEM = {"role": "system", "content": "s"}
IMAGE = {"type": "image_url", "image_url": {"url": "x"}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def lines(folder: Path, *records: Any) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def chat(folder: Path, *turns: Any, **fields: Any) -> Row:
    (row,) = read(lines(folder, {"messages": list(turns), **fields}), "openai-chat")
    return row


def found(row: Row) -> list[tuple[str, str | None]]:
    return [(p.code, p.field) for p in row.problems]


def shown(example: Example | None) -> list[tuple[str, str]]:
    assert example is not None
    return [(m.role, m.content) for m in example.messages]


def test_a_conversation(tmp_path: Path) -> None:
    row = chat(
        tmp_path,
        {"role": "system", "content": "s"},
        USER,
        {**ANSWER, "weight": 0},
        USER,
        {**ANSWER, "weight": 1},
        id="mine",
        group="g",
        weight=2,
        references=["b"],
    )
    assert row.problems == ()
    assert row.example is not None
    assert shown(row.example)[0] == ("system", "s")
    assert [m.trained for m in row.example.messages if m.role == "assistant"] == [False, True]
    assert (row.example.id, row.example.group, row.example.weight) == ("mine", "g", 2.0)
    assert row.example.accepted == ("a", "b")


def test_tools(tmp_path: Path) -> None:
    row = chat(tmp_path, USER, CALLS, RESULT, ANSWER, tools=[TOOL])
    assert row.problems == ()
    assert row.example is not None
    assert row.example.tools == (TOOL,)
    assert row.example.messages[1].tool_calls[0].arguments == '{"city": "Bern"}'
    assert row.example.messages[2].tool_call_id == "c1"
    as_text = chat(tmp_path, USER, CALLS, RESULT, ANSWER, tools=json.dumps([TOOL["function"]]))
    assert as_text.example is not None
    assert as_text.example.tools == (TOOL,)


def test_older_function_calls(tmp_path: Path) -> None:
    row = chat(
        tmp_path,
        USER,
        {"role": "assistant", "content": None, "function_call": CALL["function"]},
        {"role": "function", "name": "weather", "content": "12"},
        ANSWER,
        functions=[TOOL["function"]],
    )
    assert row.problems == ()
    assert row.example is not None
    assert row.example.messages[1].tool_calls[0].id == "call_1"
    assert row.example.messages[2].tool_call_id == "call_1"
    assert row.example.tools == (TOOL,)


def test_a_call_may_be_the_target(tmp_path: Path) -> None:
    row = chat(tmp_path, USER, CALLS)
    assert (row.problems, row.example is not None) == ((), True)


def test_text_parts_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]
    row = chat(tmp_path, {"role": "user", "content": parts}, ANSWER)
    assert shown(row.example)[0] == ("user", "a b")


def test_reasoning_is_left_out_and_told(tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "b"}]
    row = chat(tmp_path, USER, {"role": "assistant", "content": parts})
    assert shown(row.example)[1] == ("assistant", "b")
    assert [code for code, _ in found(row)] == ["reasoning-left-out"]


@pytest.mark.parametrize(
    ("turns", "fields", "expected"),
    [
        ([], {}, [("no-messages", "messages")]),
        ([USER], {}, [("no-assistant-turn", "messages")]),
        ([USER, ANSWER, USER], {}, [("does-not-end-with-assistant", "messages[2]")]),
        ([USER, CALLS, RESULT], {}, [("does-not-end-with-assistant", "messages[2]")]),
        ([{"role": "human", "content": "q"}, ANSWER], {}, [("unknown-role", "messages[0].role")]),
        ([{"content": "q"}, ANSWER], {}, [("unknown-role", "messages[0].role")]),
        (["q", ANSWER], {}, [("wrong-type", "messages[0]")]),
        ([USER, SYSTEM, ANSWER], {}, [("roles-out-of-order", "messages[1]")]),
        (
            [USER, {**ANSWER, "content": {"label": "a"}}],
            {},
            [("content-not-text", "messages[1].content")],
        ),
        ([USER, {**ANSWER, "content": None}], {}, [("content-not-text", "messages[1].content")]),
        ([USER, {"role": "assistant"}], {}, [("content-not-text", "messages[1].content")]),
        (
            [{"role": "user", "content": [IMAGE]}, ANSWER],
            {},
            [("unsupported-content", "messages[0].content[0]")],
        ),
        (
            [{"role": "user", "content": [{"type": "text"}]}, ANSWER],
            {},
            [("content-not-text", "messages[0].content[0]")],
        ),
        ([USER, ANSWER], {"images": ["a.png"]}, [("unsupported-content", "images")]),
        ([USER, {**ANSWER, "weight": 0.5}], {}, [("bad-weight", "messages[1].weight")]),
        ([USER, ANSWER], {"weight": "x"}, [("bad-weight", "weight")]),
        ([USER, {**ANSWER, "weight": 0}], {}, [("nothing-trained", "messages")]),
        ([USER, ANSWER], {"tools": "weather"}, [("bad-tools", "tools")]),
        ([USER, ANSWER], {"tools": [{"type": "function"}]}, [("bad-tools", "tools[0]")]),
        ([USER, ANSWER], {"references": "b"}, [("wrong-type", "references")]),
        ([USER, CALLS], {"possible": {"values": {}}}, [("bad-possible", "possible")]),
        ([USER, CALLS], {"possible": [{"city": ["B"]}]}, [("bad-possible", "possible")]),
        ([USER, CALLS], {"possible": [{"values": {"city": []}}]}, [("bad-possible", "possible")]),
        ([USER, CALLS], {"possible": [{"optional": "city"}]}, [("bad-possible", "possible")]),
        (
            [USER, call_with("{city: Bern}")],
            {},
            [("arguments-not-json", "messages[1].tool_calls (weather)")],
        ),
        (
            [USER, call_with("[1]")],
            {},
            [("arguments-not-json", "messages[1].tool_calls (weather)")],
        ),
        (
            [USER, {**CALLS, "tool_calls": [{"id": "c1"}]}],
            {},
            [("bad-tool-call", "messages[1].tool_calls")],
        ),
        (
            [USER, {**ANSWER, "tool_calls": "weather"}],
            {},
            [("bad-tool-call", "messages[1].tool_calls")],
        ),
        ([{**USER, "tool_calls": [CALL]}, ANSWER], {}, [("bad-tool-call", "messages[0]")]),
        ([USER, RESULT, ANSWER], {}, [("unmatched-tool-turn", "messages[1]")]),
        (
            [USER, CALLS, {**RESULT, "tool_call_id": "other"}, ANSWER],
            {},
            [("unmatched-tool-turn", "messages[2]")],
        ),
        ([USER, CALLS, RESULT, RESULT, ANSWER], {}, [("unmatched-tool-turn", "messages[3]")]),
    ],
)
def test_what_rejects_a_conversation(
    tmp_path: Path, turns: list[Any], fields: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    row = chat(tmp_path, *turns, **fields)
    assert found(row) == expected
    assert row.example is None
    assert row.raw == {"messages": turns, **fields}
    assert {p.line for p in row.problems} == {1}


@pytest.mark.parametrize(
    ("turns", "fields", "code"),
    [
        ([USER, USER, ANSWER], {}, "roles-not-alternating"),
        ([USER, ANSWER, ANSWER], {}, "roles-not-alternating"),
        ([ANSWER, USER, ANSWER], {}, "roles-not-alternating"),
        ([USER, ANSWER, USER, {**ANSWER, "weight": 0}], {}, "target-not-trained"),
        ([USER, CALLS, USER, ANSWER], {}, "unanswered-tool-call"),
        (
            [USER, {**CALLS, "tool_calls": [CALL, {**CALL, "id": "c2"}]}, RESULT, ANSWER],
            {},
            "unanswered-tool-call",
        ),
        ([USER, call_with("{}", "clock")], {"tools": [TOOL]}, "undeclared-tool"),
    ],
)
def test_what_only_warns(
    tmp_path: Path, turns: list[Any], fields: dict[str, Any], code: str
) -> None:
    row = chat(tmp_path, *turns, **fields)
    assert [(p.code, p.severity) for p in row.problems] == [(code, "warning")]
    assert row.example is not None


def test_what_else_is_right_in_a_call_is_kept(tmp_path: Path) -> None:
    possible = [{"values": {"city": ["Berne", None]}, "optional": ["days"]}]
    [row] = read(
        lines(tmp_path, {"messages": [USER, CALLS], "tools": [TOOL], "possible": possible})
    )
    assert row.example is not None
    assert row.example.possible == tuple(possible)
    assert Example.from_dict(row.example.to_dict()) == row.example


def test_messages_that_are_no_list_or_missing(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {"messages": [USER, ANSWER]},
        {"messages": "q"},
        {"message": [USER]},
        {"messages": [USER, ANSWER]},
    )
    assert detect(path).format == "openai-chat"
    rows = list(read(path))
    assert [[c for c, _ in found(r)] for r in rows] == [[], ["no-messages"], ["missing-field"], []]
    assert [r.line for r in rows] == [1, 2, 3, 4]
    assert rows[2].problems[0].fix == "Did you mean message?"


def sharegpt(folder: Path, *turns: tuple[str, Any], **fields: Any) -> Row:
    conversation = [{"from": who, "value": what} for who, what in turns]
    path = lines(folder, {"conversations": conversation, **fields})
    assert detect(path).format == "sharegpt"
    (row,) = read(path)
    return row


def test_sharegpt(tmp_path: Path) -> None:
    call = json.dumps({"name": "weather", "arguments": {"city": "Bern"}})
    row = sharegpt(
        tmp_path,
        ("human", "q"),
        ("function_call", call),
        ("observation", "12"),
        ("gpt", "a"),
        system="s",
        tools=json.dumps([TOOL["function"]]),
        id="x",
    )
    assert row.problems == ()
    assert shown(row.example) == [
        ("system", "s"), ("user", "q"), ("assistant", ""), ("tool", "12"), ("assistant", "a"),
    ]  # fmt: skip
    assert row.example is not None
    assert row.example.messages[2].tool_calls[0].arguments == '{"city": "Bern"}'
    assert row.example.messages[3].tool_call_id == row.example.messages[2].tool_calls[0].id
    assert (row.example.id, row.example.tools) == ("x", (TOOL,))


def test_sharegpt_with_several_calls_at_once(tmp_path: Path) -> None:
    calls = json.dumps([{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}])
    row = sharegpt(
        tmp_path,
        ("human", "q"),
        ("function_call", calls),
        ("observation", "1"),
        ("observation", "2"),
        ("gpt", "x"),
    )
    assert row.problems == ()
    assert row.example is not None
    assert [m.tool_call_id for m in row.example.messages[2:4]] == ["call_1", "call_2"]


def test_sharegpt_preference(tmp_path: Path) -> None:
    row = sharegpt(
        tmp_path,
        ("human", "q"),
        chosen={"from": "gpt", "value": "a"},
        rejected={"from": "gpt", "value": "b"},
    )
    assert row.example is not None
    assert (row.example.output, row.example.rejected[0].content) == ("a", "b")
    row = sharegpt(tmp_path, ("human", "q"), chosen={"from": "gpt", "value": "a"}, rejected=None)
    assert found(row) == [("no-messages", "rejected")]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([("human", "q")], [("no-assistant-turn", "conversations")]),
        (
            [("human", "q"), ("gpt", "a"), ("human", "q")],
            [("does-not-end-with-assistant", "conversations[2]")],
        ),
        ([("human", "q"), ("narrator", "a")], [("unknown-role", "conversations[1].from")]),
        ([("human", "q"), ("gpt", 5)], [("content-not-text", "conversations[1].value")]),
        (
            [("human", "q"), ("function_call", "weather(Bern)")],
            [("bad-tool-call", "conversations[1].tool_calls")],
        ),
        (
            [("human", "q"), ("observation", "12"), ("gpt", "a")],
            [("unmatched-tool-turn", "conversations[1]")],
        ),
    ],
)
def test_what_rejects_a_sharegpt_row(
    tmp_path: Path, turns: list[tuple[str, Any]], expected: list[tuple[str, str]]
) -> None:
    row = sharegpt(tmp_path, *turns)
    assert found(row) == expected
    assert row.example is None


def test_an_empty_answer_is_left_to_the_checks(tmp_path: Path) -> None:
    row = chat(tmp_path, USER, {"role": "assistant", "content": ""})
    assert (row.problems, shown(row.example)[1]) == ((), ("assistant", ""))


class AskedFields(dict[str, Any]):
    """A record that remembers which of its fields it was asked for."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def test_the_fields_that_are_told_as_read_are_those_that_are() -> None:
    record = AskedFields({"messages": [USER, ANSWER]})
    assert SHAPE.example(record, "1", RecordProblems("a.jsonl")) is not None
    assert record.asked == set(SHAPE.reads)
