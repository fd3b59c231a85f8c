"""What the answers of a fine-tuning by reinforcement are worth, by the grader of its request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tests.jobs.tiny_tuning import reinforced

from assay.example import Example, Message
from assay.jobs.tuning_request import Method
from assay.jobs.tuning_rewards import make_grading

SAME: Any = {
    "type": "string_check",
    "name": "same",
    "operation": "eq",
    "input": "{{sample.output_json.name}}",
    "reference": "{{item.name}}",
}


def rewards_of(
    folder: Path, answers: Sequence[str], item: dict[str, Any], **fields: Any
) -> list[float]:
    """What some answers to one row are worth."""
    method = Method.model_validate(reinforced(**fields)).reinforcement
    assert method is not None
    example = Example("1", (Message("user", "Who?"), Message("assistant", ".")))
    unused = cast(Any, None)
    grading = make_grading(unused, method, {"1": item}, unused, folder)
    return [*grading.reward([example] * len(answers), answers)]


def test_an_answer_is_held_to_a_schema_with_references(tmp_path: Path) -> None:
    schema = {
        "$defs": {"person": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "$ref": "#/$defs/person",
    }
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    answers = ['{"name": "a"}', '{"name": "b"}', '{"name": 1}', "a"]
    found = rewards_of(tmp_path, answers, {"name": "a"}, grader=SAME, response_format=form)
    assert found == [1.0, 0.0, 0.0, 0.0]


def test_no_answer_ends_a_training(tmp_path: Path) -> None:
    """Too long to be compared, or with half of a character."""
    alike = {**SAME, "type": "text_similarity", "evaluation_metric": "fuzzy_match"}
    del alike["operation"]
    answers = [json.dumps({"name": name}) for name in ("x" * 60_000, "x" * 100_001, "\ud83d", "y")]
    found = rewards_of(tmp_path, answers, {"name": "y" * 50_000}, grader=alike)
    assert found[:3] == [0.0] * 3
    assert found[3] > 0
