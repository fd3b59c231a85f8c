"""What a comparison says of documents, by hand."""

from __future__ import annotations

import pytest

from assay.evaluate.documents import (
    abstention,
    best_threshold,
    documents_by_name,
    mean_of,
    retrieval_quality,
    same_document,
    support,
)
from assay.knowledge.search import Passage


def passage(document: str, text: str = "", score: float = 1.0) -> Passage:
    return Passage(document, None, None, text, score, document + text)


@pytest.mark.parametrize(
    ("named", "document", "same"),
    [
        ("docs/a.md", "docs/a.md", True),
        ("a.md", "docs/a.md", True),
        ("a", "docs/a.md", True),
        ("a", "docs/ba.md", False),
        ("Super_Bowl_50#0", "x/Super_Bowl_50#0.txt", True),
    ],
)
def test_a_row_names_a_document_by_path_or_name(named: str, document: str, same: bool) -> None:
    assert same_document(named, document) == same
    assert (document in documents_by_name(["b.md", document]).get(named, ())) == same


def test_quality_over_the_rows_that_name_a_document() -> None:
    found = [[passage("a"), passage("b")], [passage("a"), passage("b")], [passage("a")], []]
    quality = retrieval_quality(["a", "b", "", None], found, [row[:1] for row in found], None)
    assert quality is not None
    assert quality.hits["1"].mean == 0.5
    assert quality.hits["3"].mean == 1.0
    assert quality.mrr.mean == 0.75
    assert quality.given.mean == 0.5
    assert quality.mrr.examples == 2
    assert retrieval_quality(["", None], found[:2], found[:2], None) is None


def test_abstaining_where_it_should_and_where_it_should_not() -> None:
    answers = ["I do not know", "Sorry: i do  not know.", "blue", "I do not know.", "red"]
    found = abstention(["", "", "", "a", None], answers, "I do not know.")
    assert found is not None
    assert (found.unanswerable.count, found.unanswerable.of) == (2, 3)
    assert (found.answerable.count, found.answerable.of) == (1, 1)
    assert abstention([None], ["x"], "I do not know.") is None


def test_support_is_a_look_at_words() -> None:
    given = [[passage("a", "Dogs travel in the hold.")]] * 4
    answers = ["In the hold", "On the moon with cats", "", "No idea."]
    found = support(answers, given, [1.0, 0.0, 0.0, 0.0], None, "No idea")
    assert (found.supported.examples, found.supported.mean) == (1, 1.0)
    assert (found.unsupported.examples, found.unsupported.mean) == (1, 0.0)


def test_the_threshold_tells_both_kinds_apart() -> None:
    assert best_threshold([0.8, 0.9], [0.1, 0.3]) == pytest.approx(0.55)
    assert best_threshold([], [0.1]) is None
    assert best_threshold([0.5], [0.5]) is None
    assert best_threshold([0.1, 0.2], [0.8, 0.9]) is None, "scores that mislead tell nothing"


def test_intervals_are_by_group() -> None:
    values = [1.0] * 40 + [0.0] * 40
    alone = mean_of(values, None)
    grouped = mean_of(values, [str(i // 8) for i in range(80)])
    assert alone.low is not None
    assert alone.high is not None
    assert grouped.low is not None
    assert grouped.high is not None
    assert grouped.high - grouped.low > alone.high - alone.low
