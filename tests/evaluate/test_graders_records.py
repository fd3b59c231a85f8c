"""json-valid, schema-valid, field-precision, field-recall, field-f1, record-exact."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.config import GraderSpec
from assay.errors import ConfigError, DataError
from assay.evaluate.graders import AnswerScores, GradingContext, grade
from assay.example import Example

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}


def graded(name: str, answer: str, *accepted: str, **settings: Any) -> AnswerScores:
    example = Example.of("question", accepted[0], references=accepted[1:])
    context = GradingContext(output_schema=SCHEMA)
    return grade(GraderSpec(name=name, settings=settings), [answer], [example], context)


def score(name: str, answer: Any, expected: Any, **settings: Any) -> float:
    return graded(name, json.dumps(answer), json.dumps(expected), **settings).scores[0]


def test_json_valid() -> None:
    assert graded("json-valid", '{"a": [1]}', "{}").scores == [1]
    broken = graded("json-valid", '{"a": [1}', "{}")
    assert (broken.scores, broken.parsed, broken.notes) == ([0], [False], ["not JSON"])


def test_schema_valid_names_what_does_not_fit() -> None:
    assert graded("schema-valid", '{"city": "Bern", "days": 2}', "{}").scores == [1]
    wrong = graded("schema-valid", '{"city": "Bern", "days": "two"}', "{}")
    assert (wrong.scores, wrong.parsed) == ([0], [True])
    assert wrong.notes == ["'days' is 'two', but must be a whole number"]
    assert graded("schema-valid", "Bern", "{}").parsed == [False]


def test_a_schema_does_not_fetch_references_from_the_network() -> None:
    context = GradingContext(output_schema={"$ref": "http://localhost:1/schema.json"})
    with pytest.raises(
        ConfigError, match=r"output_schema: a \$ref cannot be resolved: http://localhost"
    ):
        grade(GraderSpec(name="schema-valid"), ["1"], [Example.of("q", "1")], context)


@pytest.mark.parametrize(
    ("answer", "expected", "exact"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 1),
        ({"a": 1}, {"a": 1.0}, 1),
        ({"a": 1}, {"a": True}, 0),
        ({"a": 0}, {"a": False}, 0),
        ({"a": "1"}, {"a": 1}, 0),
        ({"a": None}, {}, 0),
        ([1, 2], [2, 1], 0),
        ({"a": "x "}, {"a": "x"}, 0),
        ("x", "x", 1),
    ],
)
def test_record_exact(answer: Any, expected: Any, exact: float) -> None:
    assert score("record-exact", answer, expected) == exact


def test_records_can_be_compared_leniently_and_in_part() -> None:
    assert score("record-exact", {"a": " X  y"}, {"a": "x Y"}, normalise=True) == 1
    assert score("record-exact", {"a": "x", "b": 1}, {"a": "x", "b": 2}, fields=["a"]) == 1
    assert score("field-f1", {"a": ["X", "x"]}, {"a": ["x", "x"]}, normalise=True) == 1
    assert score("field-f1", {"a": ["X", "x"]}, {"a": ["x", "x"]}) == 0.5


@pytest.mark.parametrize(
    ("answer", "expected", "precision", "recall", "f1"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, 1, 1, 1),
        ({"a": 1}, {"a": 1, "b": 2}, 1, 1 / 2, 2 / 3),
        ({"a": 1, "b": 2, "c": 3}, {"a": 1}, 1 / 3, 1, 1 / 2),
        ({"a": 1}, {"b": 1}, 0, 0, 0),
        ({}, {}, 1, 1, 1),
        ({}, {"a": 1}, 0, 0, 0),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, 1, 1, 1),
        ({"a": ["x", "x"]}, {"a": ["x"]}, 1 / 2, 1, 2 / 3),
        ({"a": []}, {"a": ["x"]}, 0, 0, 0),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, 1 / 2, 1 / 2, 1 / 2),
        ({"a": {"b": 1}}, {"a.b": 1}, 0, 0, 0),
        ({"a": True}, {"a": 1}, 0, 0, 0),
    ],
)
def test_fields(answer: Any, expected: Any, precision: float, recall: float, f1: float) -> None:
    got = [score(f"field-{name}", answer, expected) for name in ("precision", "recall", "f1")]
    assert got == pytest.approx([precision, recall, f1])


def test_an_answer_that_is_no_json_is_unparsed_and_a_reference_that_is_none_an_error() -> None:
    for name in ("record-exact", "field-f1", "field-precision", "field-recall"):
        assert graded(name, "sorry", "{}").parsed == [False]
        assert graded(name, "{}", "not json", "{}").scores == [1]
        with pytest.raises(DataError, match="JSON value"):
            graded(name, "{}", "not json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner,
                                                                max_size=4),
    max_leaves=10,
)  # fmt: skip


@settings(deadline=None)
@given(one=JSON, other=JSON)
def test_f1_lies_between_precision_and_recall_and_is_symmetric(one: Any, other: Any) -> None:
    precision, recall, f1 = (
        score(f"field-{name}", one, other) for name in ("precision", "recall", "f1")
    )
    assert min(precision, recall) - 1e-12 <= f1 <= max(precision, recall) + 1e-12
    assert f1 == pytest.approx(score("field-f1", other, one))
    if score("record-exact", one, other):
        assert f1 == 1
