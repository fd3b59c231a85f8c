"""`assertions`: each type passes and fails, sets and weights count as promptfoo counts them."""

from __future__ import annotations

from typing import Any

import pytest

from assay.config import GraderSpec
from assay.data.assertions import find_fault
from assay.evaluate.graders import GradingContext, grade
from assay.evaluate.graders.assertions import rubric_of
from assay.example import Example

SCHEMA = {"type": "object", "required": ["a"]}
CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "equals", "value": "Paris"}, " Paris\n", "paris"),
    ({"type": "equals", "value": {"a": 1, "b": [2]}}, '{"b": [2], "a": 1.0}', '{"a": 1}'),
    ({"type": "contains", "value": "Paris"}, "In Paris.", "in paris"),
    ({"type": "icontains", "value": "PARIS"}, "in paris", "in Rome"),
    ({"type": "starts-with", "value": "Yes"}, "Yes, it is", "It is, Yes"),
    ({"type": "ends-with", "value": "."}, "It is.", "It is"),
    ({"type": "contains-any", "value": ["a", "b"]}, "xb", "xB"),
    ({"type": "contains-all", "value": ["a", "b"]}, "ab", "a"),
    ({"type": "icontains-any", "value": ["A", "B"]}, "xb", "x"),
    ({"type": "icontains-all", "value": ["A", "B"]}, "ab", "b"),
    ({"type": "regex", "value": r"^\d{4}$"}, "2024", "20244"),
    ({"type": "is-json"}, '{"a": 1}', "```json\n{}\n```"),
    ({"type": "is-json", "value": SCHEMA}, '{"a": 1}', "{}"),
    ({"type": "word-count", "value": 2}, "two words", "three words here"),
    ({"type": "word-count", "value": {"min": 2}}, "two words", "one"),
    ({"type": "levenshtein", "value": "kitten", "threshold": 3}, "sitting", "sittings"),
    ({"type": "rouge-n", "value": "the cat sat"}, "The cat sat down here", "the dog sat"),
    ({"type": "bleu", "value": "the cat sat on the mat"}, "the cat sat on the mat", "a dog"),
    ({"type": "gleu", "value": "the cat sat on"}, "the cat sat on", "the dog"),
    ({"type": "not-icontains", "value": "sorry"}, "Here it is", "Sorry, no"),
    ({"type": "not-equals", "value": {"a": 1}}, "no JSON", '{"a": 1}'),
    ({"type": "not-rouge-n", "value": "the cat sat"}, "a dog", "the cat sat"),
]


def passes(assertions: list[dict[str, Any]], *answers: str) -> list[float]:
    assert find_fault(assertions) is None
    row = Example.of("q", "a", assertions=tuple(assertions))
    rows = [row] * len(answers)
    return grade(GraderSpec(name="assertions"), answers, rows, GradingContext()).scores


@pytest.mark.parametrize(("assertion", "good", "bad"), CASES, ids=[c[0]["type"] for c in CASES])
def test_each_type_passes_and_fails(assertion: dict[str, Any], good: str, bad: str) -> None:
    assert passes([assertion], good, bad) == [1.0, 0.0]
    assert passes([{**assertion, "weight": 0}], bad) == [1.0]


def test_sets_go_by_their_threshold_and_weights() -> None:
    said = [{"type": "icontains", "value": word} for word in ("red", "blue", "green")]
    of_two = {"type": "assert-set", "threshold": 0.6, "assert": said}
    assert passes([of_two], "red and blue", "red") == [1.0, 0.0]
    heavy = [{**said[0], "weight": 8}, said[1], said[2]]
    assert passes([{**of_two, "assert": heavy}], "red", "blue and green") == [1.0, 0.0]
    whole = {"type": "assert-set", "assert": said}
    assert passes([whole], "red, blue, green", "red and blue") == [1.0, 0.0]
    assert passes([{**whole, "weight": 0}], "red and blue") == [0.0]
    assert passes([{**whole, "threshold": 0}], "nothing") == [1.0]
    weightless = [{**one, "weight": 0} for one in said]
    assert passes([{**of_two, "assert": weightless}], "red, blue, green") == [0.0]


def test_what_cannot_be_checked_is_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.evaluate.graders.assertions.MATCHING_S", 0.01)
    slow = {"value": "(a|aa|a?)+$.b|SECRET"}
    answer = "a" * 60 + "! SECRET"
    for kind in ("regex", "not-regex"):
        assert passes([{**slow, "type": kind}], answer) == [0.0]
    elsewhere = {"properties": {"a": {"$ref": "https://example.org/a.json"}}}
    for kind in ("is-json", "not-is-json"):
        assert passes([{"type": kind, "value": elsewhere}], '{"a": 1}') == [0.0]


def test_what_needs_a_judge_is_left_to_the_judge() -> None:
    rubric = {"type": "llm-rubric", "value": "Is it polite?"}
    wrong = {"type": "not-factuality", "value": "Rome is in France."}
    row = Example.of("q", "a", assertions=({"type": "assert-set", "assert": [rubric]}, wrong))
    done = grade(GraderSpec(name="assertions"), ["x"], [row], GradingContext())
    assert done.counted == [False]
    said = rubric_of(row)
    assert said is not None
    assert "meets this better? Is it polite?" in said
    assert "contradicts this statement? Rome" in said


@pytest.mark.parametrize(
    ("assertions", "fault"),
    [
        ({}, " is not a list."),
        ([{"type": "javascript", "value": "1"}], "[0].type is 'javascript'"),
        ([{"type": "contains", "value": ""}], "[0].value is not a text."),
        ([{"type": "equals", "value": "a", "weight": -1}], "[0].weight is not a number"),
        ([{"type": "regex", "value": "("}], "[0].value: it is not a valid"),
        ([{"type": "is-json", "value": {"type": 3}}], "[0].value: this is not a JSON Schema"),
        ([{"type": "assert-set", "assert": [{"type": "regex"}]}], "[0].assert[0].value"),
        ([{"type": "is-json"}] * 101, " has more than 100 entries."),
    ],
)
def test_a_fault_has_its_place(assertions: Any, fault: str) -> None:
    assert (find_fault(assertions) or "").startswith(fault)
