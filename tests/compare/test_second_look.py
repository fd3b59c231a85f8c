"""Whose word counts against a label, what is the same answer, and the ceiling that follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from assay.compare.second_look import find_second_look
from assay.config import Config
from assay.evaluate.label_noise import SecondLook
from assay.evaluate.measure import Measurement
from assay.evaluate.stats import wilson
from assay.example import Example
from assay.generate.batch import Answer

ROWS = 20
LISTS = {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}


def config(task: str = "label", **more: Any) -> Config:
    return Config.model_validate(
        {
            "name": "test",
            "task": task,
            "data": {"file": "data.csv"},
            "candidates": ["prompt"],
            "graders": [{"name": "exact"}],
            "primary": "exact",
            **more,
        }
    )


def measurement(wrong: dict[int, str], counted: Sequence[bool] = (True,) * ROWS) -> Measurement:
    """Everything right but for the rows in `wrong`."""
    answers = [Answer(wrong.get(row, "right")) for row in range(ROWS)]
    scores = [float(row not in wrong) for row in range(ROWS)]
    return Measurement(answers, {"exact": scores}, {"exact": list(counted)}, [True] * ROWS, "exact")


def look(
    *measured: Measurement,
    above: Sequence[str] = "abcdef",
    groups: Sequence[str] | None = None,
    of: Config | None = None,
) -> SecondLook | None:
    examples = [Example.of("question", "right", id=f"r{row}") for row in range(ROWS)]
    by_name = dict(zip("abcdef", measured, strict=False))
    return find_second_look(by_name, above, examples, groups, of or config())


def test_the_ceiling_is_what_a_faultless_candidate_would_score() -> None:
    found = look(measurement({3: "x", 8: "x", 9: "y"}), measurement({3: "x", 8: "x", 9: "z"}))
    assert found is not None
    assert found.ids == ["r3", "r8"]
    assert (found.raters, found.agreeing, found.rows) == (["a", "b"], 2, ROWS)
    assert found.ceiling == pytest.approx(18 / 20)
    assert (found.low, found.high) == pytest.approx(wilson(18, 20))


def test_rows_of_one_group_are_one_piece_of_evidence() -> None:
    same = measurement(dict.fromkeys(range(5), "x"))
    alone = look(same, same)
    together = look(same, same, groups=[f"g{row // 5}" for row in range(ROWS)])
    assert alone is not None
    assert together is not None
    assert together.ids == alone.ids
    assert together.low < alone.low


def test_only_those_are_asked_who_know_the_job() -> None:
    good, bad = measurement({3: "x"}), measurement(dict.fromkeys(range(12), "x"))
    assert look(good, bad) is None
    assert look(good, good, above="a") is None
    found = look(good, bad, good)
    assert found is not None
    assert found.raters == ["a", "c"]


def test_rows_that_the_primary_metric_leaves_out_are_not_looked_at() -> None:
    one = measurement({3: "x", 8: "x"}, [row != 3 for row in range(ROWS)])
    found = look(one, one)
    assert found is not None
    assert (found.ids, found.rows) == (["r8"], ROWS - 1)


@pytest.mark.parametrize(
    ("answers", "task", "more", "agree"),
    [
        (("Cat.", "'cat'"), "label", {"labels": ["cat", "dog"]}, True),
        (("cow", "cow"), "label", {"labels": ["cat", "dog"]}, False),
        (('{"a": 1, "b": 2}', '{"b":2.0,"a":1}'), "json", {}, True),
        (("{", "{"), "json", {}, False),
        (('["b", "a"]', '["a","b"]'), "json", {"output_schema": LISTS}, True),
        (('["b", "a"]', '["a", "a"]'), "json", {"output_schema": LISTS}, False),
        (('["b", "a"]', '["a","b"]'), "json", {}, False),
        (("A cat.", "A cat. "), "text", {}, True),
        (("A cat.", "a cat."), "text", {}, False),
        (("It does not say.",) * 2, "text", {"knowledge": {"abstain": "It does not say."}}, False),
    ],
)
def test_what_is_the_same_answer(
    answers: tuple[str, str], task: str, more: dict[str, Any], agree: bool
) -> None:
    found = look(*(measurement({3: answer}) for answer in answers), of=config(task, **more))
    assert found is not None
    assert found.ids == (["r3"] if agree else [])
