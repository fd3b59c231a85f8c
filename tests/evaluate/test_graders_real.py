"""On public data sets the expected outputs themselves score 1, and those of other rows less."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.config import GraderSpec
from assay.evaluate.graders import GradingContext, grade, mine_terms
from assay.example import Example

Row = dict[str, Any]
SETS: dict[str, tuple[str, Callable[[Row], tuple[str, str]]]] = {
    "banking77": ("test.jsonl", lambda row: (row["text"], row["label"])),
    "snips": (
        "test.jsonl",
        lambda row: (row["text"], json.dumps({"intent": row["intent"], **row["slots"]})),
    ),
    "mts_dialog": ("test1.jsonl", lambda row: (row["dialogue"], row["section_text"])),
}


def read(folder: Path, name: str, file: str | None = None) -> list[Example]:
    usual, pair = SETS[name]
    lines = (folder / name / (file or usual)).read_text(encoding="utf-8").splitlines()
    return [Example.of(*pair(json.loads(line)), id=str(n)) for n, line in enumerate(lines)]


@pytest.mark.parametrize(
    ("name", "grader"),
    [
        ("banking77", "label-accuracy"),
        ("banking77", "exact"),
        ("snips", "record-exact"),
        ("snips", "field-f1"),
        ("mts_dialog", "token-f1"),
        ("mts_dialog", "rouge-l"),
        ("mts_dialog", "chrf"),
        ("mts_dialog", "terms"),
    ],
)
def test_expected_outputs_score_1_and_others_less(
    data_folder: Path, name: str, grader: str
) -> None:
    examples = read(data_folder, name)
    outputs = [example.output for example in examples]
    context = GradingContext(labels=sorted(set(outputs)))
    spec = GraderSpec(name=grader)
    if grader == "terms":
        glossary = mine_terms(read(data_folder, name, "train.jsonl"), 60)
        assert {"hypertension", "denies", "nonsmoker"} <= set(glossary)
        spec = GraderSpec(name=grader, settings={"glossary": glossary})
    right = grade(spec, outputs, examples, context)
    assert (right.mean, right.failed) == (1, 0)
    shifted = grade(spec, outputs[1:] + outputs[:1], examples, context)
    assert shifted.mean is not None
    assert shifted.mean < 0.98  # the rows of banking77 are sorted by label: most neighbours agree
