"""Turns as providers take them."""

from __future__ import annotations

from assay.example import Message, ToolCall
from assay.generate.remote.turns import NO_RESULT, complete_calls

USER = Message("user", "a")


def calling(*ids: str) -> Message:
    return Message("assistant", "", tuple(ToolCall(id, "f", "{}") for id in ids))


def result(id: str, text: str = "r") -> Message:
    return Message("tool", text, tool_call_id=id)


def test_a_whole_conversation_is_left_as_it_is() -> None:
    turns = [USER, calling("1", "2"), result("2"), result("1"), USER]
    assert complete_calls(turns) == turns


def test_a_call_without_a_result_gets_one() -> None:
    turns = [USER, calling("1", "2"), result("1"), USER]
    made = complete_calls(turns)
    assert made[:2] == turns[:2]
    assert made[2:] == [result("2", NO_RESULT), result("1"), USER]


def test_an_id_that_was_there_before_is_changed_with_its_results() -> None:
    turns = [USER, calling("1"), USER, calling("1"), result("1")]
    made = complete_calls(turns)
    assert made == [USER, calling("1"), result("1", NO_RESULT), USER, calling("1_2"), result("1_2")]
