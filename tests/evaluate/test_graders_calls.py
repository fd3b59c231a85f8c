"""Graders of function calls: what is right, however it is written."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from assay.config import GraderSpec
from assay.errors import ConfigError
from assay.evaluate.aggregate import corpus_scores, scores_by_class
from assay.evaluate.graders import AnswerScores, GradingContext, grade
from assay.evaluate.graders.values import normal_text, same_value
from assay.example import Example, Message, ToolCall

FORECAST: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "forecast",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "default": "celsius"},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
NOW = {"type": "function", "function": {"name": "now"}}
NAMES = ("call-exact", "call-name", "argument-f1", "no-call", "schema-valid")
TOOLS = GradingContext(task="tools")


def calls(*arguments: dict[str, Any]) -> Message:
    made = (ToolCall(f"c{n}", "forecast", json.dumps(one)) for n, one in enumerate(arguments))
    return Message("assistant", "", tuple(made))


def row(target: Message, **fields: Any) -> Example:
    return Example("1", (Message("user", "Bern?"), target), (FORECAST, NOW), **fields)


ONE = row(calls({"city": "Bern", "days": 3}))
TWO = row(calls({"city": "Bern"}, {"city": "Oslo", "days": 3}))
NONE = row(Message("assistant", "Which city?"))


def graded(name: str, answer: str, example: Example) -> AnswerScores:
    return grade(GraderSpec(name=name), [answer], [example], TOOLS)


def scores(answer: str, example: Example) -> tuple[float, ...]:
    return tuple(round(graded(name, answer, example).scores[0], 3) for name in NAMES)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ONE.output, (1, 1, 1, 1, 1)),
        ('{"name": "forecast", "parameters": {"days": 3.0, "city": " bern."}}', (1, 1, 1, 1, 1)),
        (calls({"city": "Bern", "days": 3, "unit": "Celsius"}).text, (1, 1, 1, 1, 1)),
        (calls({"city": "Bern", "days": 3, "unit": "kelvin"}).text, (0, 1, 0.857, 1, 1)),
        (calls({"city": "Bern"}).text, (0, 1, 0.8, 1, 1)),
        (calls({"city": "Bern", "days": "3"}).text, (0, 1, 0.667, 1, 0)),
        (calls({"city": "Bern", "days": 3}, {"city": "Bern", "days": 3}).text, (0, 0, 0.667, 1, 1)),
        ('<tool_call>{"name": "now", "arguments": {}}</tool_call>', (0, 0, 0, 1, 1)),
        ("It is sunny in Bern.", (0, 0, 0, 0, 1)),
        ('<tool_call>{"name": "forecast", "arguments": {"city"', (0, 0, 0, 0, 0)),
        ('<tool_call>{"name": "rain", "arguments": {}}</tool_call>', (0, 0, 0, 0, 0)),
    ],
)
def test_one_call(answer: str, expected: tuple[float, ...]) -> None:
    assert scores(answer, ONE) == expected


def test_the_order_of_parallel_calls_does_not_matter_and_each_answers_for_one() -> None:
    assert scores(calls({"city": "Oslo", "days": 3}, {"city": "Bern"}).text, TWO)[0] == 1
    assert scores(calls({"city": "Oslo", "days": 3}, {"city": "Oslo", "days": 3}).text, TWO)[0] == 0


def test_calls_are_paired_so_that_all_fit_where_one_fits_several() -> None:
    possible = ({"values": {"city": ["Oslo"]}}, {})
    both = row(calls({"city": "Bern"}, {"city": "Oslo"}), possible=possible)
    assert scores(calls({"city": "Oslo"}, {"city": "Bern"}).text, both)[0] == 1


def test_where_no_call_is_right_any_words_are() -> None:
    assert scores("For which place do you want it?", NONE)[0] == 1
    assert scores(ONE.output, NONE) == (0, 0, 1, 0, 1)
    assert graded("argument-f1", "Which?", NONE).counted == [False]


def test_several_values_are_right_and_arguments_may_be_left_out() -> None:
    possible = ({"values": {"city": ["Berne", "BRN"], "unit": ["kelvin"]}, "optional": ["days"]},)
    several = replace(ONE, possible=possible)
    for arguments in ({"city": "brn"}, {"city": "Berne", "days": 3, "unit": "kelvin"}):
        assert scores(calls(arguments).text, several)[:3] == (1, 1, 1)
    assert scores(calls({"city": "Berne", "days": 4}).text, several)[0] == 0


def test_a_whole_other_answer_is_right_where_a_reference_says_so() -> None:
    other = replace(ONE, references=("Which city?", '{"name": "now", "arguments": {}}'))
    assert [scores(text, other)[0] for text in ("Where?", *other.references)] == [1, 1, 1]


def test_a_default_may_be_left_out_where_it_is_expected() -> None:
    stated = row(calls({"city": "Bern", "unit": "celsius"}))
    assert scores(calls({"city": "Bern"}).text, stated)[:3] == (1, 1, 1)


def test_what_cannot_be_read_is_told_and_what_does_not_fit_is_named() -> None:
    assert graded("call-exact", "<tool_call>{", ONE).parsed == [False]
    found = graded("schema-valid", calls({"town": "Bern"}).text, ONE)
    assert found.notes[0] == "forecast: 'town' is an unknown field"


def test_calls_are_graded_in_a_tools_task_only() -> None:
    with pytest.raises(ConfigError, match="only a tools task"):
        grade(GraderSpec(name="call-exact"), ["a"], [ONE], GradingContext(task="text"))


def test_corpus_scores_say_when_to_call_nothing_and_which_function_is_called_right() -> None:
    answers = ["It is sunny.", "Which one?", ONE.output, "<tool_call>{"]
    examples = [ONE, NONE, ONE, NONE]
    assert corpus_scores("tools", answers, examples) == {
        "no-call-precision": 0.5,
        "no-call-recall": 0.5,
    }
    assert scores_by_class("tools", answers, examples) == {"forecast": 0.5}


@pytest.mark.parametrize(
    ("given", "right", "same"),
    [
        (5, 5.0, True),
        (5e2, 500, True),
        ("5", 5, False),
        (1, True, False),
        (None, None, True),
        (None, "", False),
        ([1, "A b"], [1.0, "ab"], True),
        ([1, 2], [2, 1], False),
        ({"a": "X", "b": 1}, {"b": 1, "a": "x"}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ("San Francisco, CA", "san francisco ca", True),
        ("1.5", "15", False),
        ("1,5", "1.5", True),
        ("-5", "5", False),
        ("April 1,2024", "2024-04-01", True),
        ("1st of April 2024", "April 1st, 2024", True),
        ("2024/4/1", "2024-04-01", True),
        ("03/04/2024", "2024-03-04", False),
        ("Mar 3", "3 March", True),
        ("Mar 3", "2024-03-03", False),
        ("5:30 pm", "17:30", True),
        ("12 a.m.", "00:00", True),
        ("5:30", "17:30", False),
        ("it's", 'it"s', True),
        ("Straße", "STRASSE", True),
    ],
)
def test_two_values_say_the_same(given: Any, right: Any, same: bool) -> None:
    assert same_value(given, right) is same
    assert same_value(right, given) is same


@pytest.mark.parametrize("text", ["2024-02-30", "13:75", "25 pm", "99 may"])
def test_what_is_no_day_and_no_time_stays_text(text: str) -> None:
    assert not normal_text(text).startswith("2024-02-")
    assert same_value(text, text)
