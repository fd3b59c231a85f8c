"""Calls as people read them, from messages and from the texts that models write."""

from __future__ import annotations

import json

import pytest

from assay.chat.plain_calls import read_answer, say_answer, say_call, say_input
from assay.example import Example, Message, ToolCall, call_text

SAID = 'find_ferry(to: "Kiel, (old)", cars: 2)'
CALL = {"name": "find_ferry", "arguments": {"to": "Kiel, (old)", "cars": 2}}
WRITTEN = json.dumps(CALL)
MARKED = f"<tool_call>\n{WRITTEN}\n</tool_call>"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"to": "Kiel, (old)", "cars": 2}', SAID),
        ('{"n": "5", "at": [1, {"b": null}], "note": "a\\nß"}',
         'find_ferry(n: "5", at: [1, {"b": null}], note: "a\\nß")'),
        ("{}", "find_ferry()"),
        ("", "find_ferry()"),
        ("not JSON", "find_ferry(not JSON)"),
        ("[1]", "find_ferry([1])"),
        ('{"a": "\\ud800"}', 'find_ferry({"a": "\\ud800"})'),
    ],
)  # fmt: skip
def test_a_call_is_its_name_and_arguments(arguments: str, said: str) -> None:
    call = ToolCall("c", "find_ferry", arguments)
    assert say_call(call) == said
    assert (say_call(call) + call_text(call)).encode()  # half a pair cannot be written anywhere


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MARKED, SAID),
        (f"One moment.\n{MARKED}\n{MARKED}", f"One moment.\n{SAID}\n{SAID}"),
        (WRITTEN.replace("arguments", "parameters"), SAID),
        (f"[TOOL_CALLS][{WRITTEN}, {WRITTEN}]", f"{SAID}\n{SAID}"),
        (f"find_ferry[ARGS]{json.dumps(CALL['arguments'])}", SAID),
        (f"find_ferry{json.dumps(CALL['arguments'])}", SAID),
        ("On which day?", "On which day?"),
        ('{"name": "Anna", "city": "Kiel"}', '{"name": "Anna", "city": "Kiel"}'),
        (MARKED[:-30], MARKED[:-30]),
        ("", ""),
    ],
)
def test_an_answer_is_read_in_every_form(text: str, said: str) -> None:
    assert say_answer(text, "tools") == said
    assert read_answer(text, "json") == Message("assistant", text)


def test_an_input_has_the_calls_of_its_earlier_turns_and_their_results() -> None:
    call = ToolCall("c", "find_ferry", json.dumps(CALL["arguments"]))
    turns = (
        Message("system", "Be brief."),
        Message("user", "To Kiel."),
        Message("assistant", "", (call,)),
        Message("tool", "none", tool_call_id="c"),
        Message("assistant", "There is none."),
    )
    assert say_input(Example("1", turns)) == f"To Kiel.\n{SAID}\nnone"
