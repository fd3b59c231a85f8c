"""Figures of a data set, and that the guide names every problem as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.data.problems import CODES
from assay.data.statistics import MAX_LABELS, Statistics, Tokens, bin_of
from assay.example import Example

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.mark.parametrize(
    ("length", "end"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1024, 1024), (1025, 2048)]
)
def test_bins(length: int, end: int) -> None:
    assert bin_of(length) == end


def test_counts_lengths_tokens_and_labels() -> None:
    statistics = Statistics()
    for i in range(10):
        statistics.add(Example.of("abc", "yes" if i < 7 else "no"), Tokens(5, 2 if i else 60))
    assert statistics.to_dict() == {
        "rows": 10,
        "tokens": {"input": 50, "trained": 78, "longest": 65},
        "input_characters": [{"up_to": 4, "rows": 10}],
        "output_characters": [{"up_to": 2, "rows": 3}, {"up_to": 4, "rows": 7}],
        "sequence_tokens": [{"up_to": 8, "rows": 9}, {"up_to": 128, "rows": 1}],
        "labels": {"yes": 7, "no": 3},
    }


def test_what_was_not_counted_is_not_known() -> None:
    statistics = Statistics()
    statistics.add(Example.of("a", "b"), None)
    assert statistics.to_dict()["tokens"] is None
    assert statistics.to_dict()["sequence_tokens"] is None


def test_outputs_that_are_no_labels_are_not_listed_nor_kept() -> None:
    statistics = Statistics()
    for i in range(MAX_LABELS + 1):
        statistics.add(Example.of("a", f"answer {i}"), None)
    assert statistics.outputs is None
    assert statistics.balance() is None


def test_every_problem_stands_in_the_guide_with_its_severity_and_meaning() -> None:
    text = PAGE.read_text(encoding="utf-8")
    missing = [
        code
        for code, (severity, meaning) in CODES.items()
        if f"| `{code}` | {severity} | {meaning} |" not in text
    ]
    assert missing == []
