"""The built-in project's second job: documents, and questions whose answers stand in them."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from assay import builtin
from assay.config import GraderSpec
from assay.evaluate.graders import GradingContext, grade
from assay.example import Example

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    lines = (builtin.folder() / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def documents() -> dict[str, str]:
    """Each document by its name, a space between its words."""
    files = (builtin.folder() / "handbook").iterdir()
    return {file.name: " ".join(file.read_text(encoding="utf-8").split()) for file in files}


def test_there_are_enough_of_both(rows: list[Row], documents: dict[str, str]) -> None:
    assert len(documents) >= 15
    assert len(rows) >= 300
    assert [row["id"] for row in rows] == [f"h-{n:03d}" for n in range(1, len(rows) + 1)]
    assert len({row["question"] for row in rows}) == len(rows)
    assert all(list(row) == ["id", "question", "answer", "document"] for row in rows)


def test_a_fact_stands_in_its_document_and_in_no_other(
    rows: list[Row], documents: dict[str, str]
) -> None:
    """So that whoever has the fact has found the document, as the grader of the demo looks."""
    for row in rows:
        if row["document"]:
            fact = Example.of(row["question"], row["answer"])
            found = grade(
                GraderSpec(name="contains"),
                list(documents.values()),
                [fact] * len(documents),
                GradingContext(),
            )
            holding = [name for name, one in zip(documents, found.scores, strict=True) if one]
            assert holding == [row["document"]], row
            assert row["answer"] in documents[row["document"]], row
            assert len(row["answer"].split()) <= 6, row
    asked = Counter(row["document"] for row in rows if row["document"])
    assert set(asked) == set(documents)
    assert min(asked.values()) >= 12


def test_some_questions_have_no_answer_and_say_so_alike(rows: list[Row]) -> None:
    none = [row for row in rows if not row["document"]]
    assert len(none) >= 25
    assert {row["answer"] for row in none} == {builtin.ABSTAIN}
