"""The three ways to search, their fusion, and "nothing relevant"."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import UsageError
from assay.knowledge.base import KnowledgeBase


@pytest.fixture
def filled(base: KnowledgeBase, docs: Path) -> KnowledgeBase:
    for number in range(20):
        (docs / f"filler{number}.txt").write_text(f"Paragraph {number} is about stones and rivers.")
    base.add([docs])
    return base


def test_scores_are_of_the_mode_and_sorted(filled: KnowledgeBase) -> None:
    question = ["Is green tea steeped for minutes?"]
    [words] = filled.search(question, k=5, mode="bm25")
    [meaning] = filled.search(question, k=5, mode="dense")
    [both] = filled.search(question, k=5)
    for found in (words, meaning, both):
        assert found[0].document.endswith("tea.txt")
        assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
    assert 0 < meaning[0].score <= 1.0001
    assert both[0].score == pytest.approx(2 / 61)


def test_weights_go_from_words_to_meaning(filled: KnowledgeBase) -> None:
    question = ["stones"]
    [words] = filled.search(question, k=3, mode="hybrid", weight=0.0)
    [plain] = filled.search(question, k=3, mode="bm25")
    assert words[0].score == pytest.approx(1.0)
    assert {p.score for p in plain} == {plain[0].score}
    [meaning] = filled.search(question, k=3, weight=1.0)
    [dense] = filled.search(question, k=3, mode="dense")
    assert [p.id for p in meaning] == [p.id for p in dense]
    assert [p.score for p in meaning] == pytest.approx([p.score for p in dense], abs=1e-5)


def test_nothing_relevant_is_an_answer(filled: KnowledgeBase) -> None:
    asked = ["Is green tea steeped for minutes?", "quantum chromodynamics"]
    assert [len(p) for p in filled.search(asked, k=5, mode="bm25")] == [1, 0]
    for mode in ("dense", "hybrid"):
        found = filled.search(asked, k=5, mode=mode, threshold=0.5)  # type: ignore[arg-type]
        assert [len(passages) for passages in found] == [1, 0]
    assert filled.search(asked, k=5, mode="bm25", threshold=1e6) == [[], []]


def test_odd_queries_are_answered(filled: KnowledgeBase) -> None:
    odd = ["", "  \n", '"AND (', "tea OR *:*", "' ; drop table", "🍵", "\0tea", "tea " * 5000]
    for mode in ("bm25", "dense", "hybrid"):
        found = filled.search(odd, k=2, mode=mode)  # type: ignore[arg-type]
        assert found[:2] == [[], []]
        assert found[3][0].document.endswith("tea.txt")
    assert filled.search([], k=1) == []


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"k": 1001}, {"k": 1, "mode": "both"}, {"k": 1, "weight": 2.0}]
)
def test_wrong_ways_to_ask(filled: KnowledgeBase, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        filled.search(["tea"], **wrong)  # type: ignore[arg-type]
