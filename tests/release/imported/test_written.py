"""Traces that the programs themselves have written (`tests/compat/logs`), and what LiteLLM's
records of `/v1/responses` and `/v1/messages` may hold beside what these have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.compat.logs.provider import ANSWER, PARAMETERS, QUESTION, SYSTEM

from assay.example import Message, ToolCall
from assay.release.imported.reading import read_file
from assay.release.imported.trace import ImportedTrace

WRITTEN = Path(__file__).parents[2] / "compat" / "logs" / "written"
TURNS = (Message("system", SYSTEM), Message("user", QUESTION))
TEXT = Message("assistant", ANSWER)
CALL = Message("assistant", "", (ToolCall("call_1", "find", '{"card": 3}'),))
TOOL = {"name": "find", "description": "Finds a card.", "parameters": PARAMETERS}
ASKED = Message("assistant", "", (ToolCall("c", "find", '{"card": 3}'),))
RESULT = Message("tool", "at the bank", tool_call_id="c")
AFTER = (*TURNS, Message("assistant", "I look.", ASKED.tool_calls), RESULT)

Expected = tuple[tuple[Message, ...], Message, bool]
"""Of a call: the messages, the answer, and whether a tool was offered."""
OPENLLMETRY: list[Expected] = [
    (TURNS, TEXT, False),
    (TURNS, CALL, True),
    ((*TURNS, ASKED, RESULT), TEXT, False),
    (TURNS, TEXT, False),  # a stream
    (TURNS, TEXT, False),  # of /v1/responses
]
LITELLM: list[Expected | str] = [
    (TURNS, TEXT, False),
    (TURNS, CALL, True),
    (TURNS, TEXT, False),  # a stream
    (TURNS, TEXT, False),  # of /v1/responses from here
    (TURNS[1:], CALL, True),
    ((TURNS[1], ASKED, RESULT), TEXT, False),  # a stream
    (TURNS, TEXT, False),  # of /v1/messages from here
    ((*AFTER, Message("user", "And now?")), TEXT, False),
    (TURNS, CALL, True),
    "it goes on from what is kept at the provider",
    "it has no system prompt",
    *["messages or answer were not logged"] * 3,
]


@pytest.mark.parametrize("name", ["openllmetry", "litellm"])
def test_what_the_programs_have_written_is_imported(name: str) -> None:
    expected = LITELLM if name == "litellm" else OPENLLMETRY
    found = list(read_file(WRITTEN / f"{name}.jsonl"))
    for one, wanted in zip(found, expected, strict=True):
        if isinstance(wanted, str):
            assert wanted in (one.reason or "")
            continue
        trace = one.trace
        assert trace is not None, one
        messages, answer, offered = wanted
        assert trace.messages == messages
        assert (trace.answer.content, trace.cut) == (answer.content, False)
        calls = [(call.name, call.arguments) for call in trace.answer.tool_calls]
        assert calls == [(call.name, call.arguments) for call in answer.tool_calls]
        assert [tool["function"] for tool in trace.tools] == [TOOL] * offered
        assert (trace.prompt_tokens, trace.completion_tokens) == (30, 1)
        assert trace.model in ("gpt-4o-mini", "claude-haiku-4-5")
        assert trace.seconds is not None
        assert (trace.usd is None) == (name == "openllmetry")


def record(kind: str, **changes: Any) -> dict[str, Any]:
    """One that LiteLLM has written, of a call of a kind, with changes."""
    lines = (WRITTEN / "litellm.jsonl").read_text("utf-8").splitlines()
    whole = next(one for one in map(json.loads, lines) if one["call_type"] == kind)
    for name, value in changes.items():
        whole[name] = {**whole[name], **value} if isinstance(value, dict) else value
    return whole


def read(kind: str, folder: Path, **changes: Any) -> ImportedTrace | str | None:
    file = folder / "traces.jsonl"
    file.write_text(json.dumps(record(kind, **changes)) + "\n")
    [found] = read_file(file)
    return found.trace or found.reason


TEXTS = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
PICTURE = [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]
OTHERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "two answers": ("aresponses", {"response": {"output": [TEXTS, TEXTS]}}, "not one text"),
    "no answer": ("aresponses", {"response": {"output": []}}, "not one text"),
    "a tool of the provider's": (
        "aresponses",
        {"response": {"output": [SEARCH, TEXTS]}},
        "not one text",
    ),
    "a picture": ("aresponses", {"messages": PICTURE}, "Assay reads text"),
    "items that are none": ("aresponses", {"messages": [3, {"type": "x"}]}, "a role other than"),
    "a conversation": ("aresponses", {"response": {"conversation": {"id": "c"}}}, "kept at the"),
    "blocks that are none": ("anthropic_messages", {"messages": [{"role": "user"}]}, "no system"),
    "a document": (
        "anthropic_messages",
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": [{"type": "document", "source": {}}]},
            ]
        },
        "Assay reads text",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_record_that_cannot_be_used_says_why(case: str, tmp_path: Path) -> None:
    kind, changes, reason = OTHERS[case]
    found = read(kind, tmp_path, **changes)
    assert isinstance(found, str)
    assert reason in found


def test_an_answer_of_items_is_one_turn(tmp_path: Path) -> None:
    call = {"type": "function_call", "call_id": "d", "name": "find", "arguments": "{}"}
    response = {
        "output": [{"type": "reasoning"}, TEXTS, call, {**call, "call_id": "e"}],
        "incomplete_details": {"reason": "max_output_tokens"},
    }
    found = read("aresponses", tmp_path, response=response)
    assert isinstance(found, ImportedTrace)
    assert (found.answer.content, found.cut) == ("a", True)
    assert [one.id for one in found.answer.tool_calls] == ["d", "e"]


def test_thoughts_are_left_out_and_each_result_is_a_turn(tmp_path: Path) -> None:
    used = [{"type": "tool_use", "id": id, "name": "find", "input": {}} for id in ("c", "d")]
    parts = [{"type": "text", "text": "x"}]
    results = [{"type": "tool_result", "tool_use_id": id, "content": parts} for id in ("c", "d")]
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, *used]},
        {"role": "user", "content": results},
    ]
    found = read("anthropic_messages", tmp_path, messages=messages)
    assert isinstance(found, ImportedTrace)
    assert [one.role for one in found.messages] == ["system", "user", "assistant", "tool", "tool"]
    assert [one.content for one in found.messages[3:]] == ["x", "x"]
