from __future__ import annotations

import random

import pytest
from sacrebleu.metrics import CHRF
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from assay.evaluate.aggregate import (
    accuracy,
    confusion_counts,
    corpus_chrf,
    corpus_scores,
    field_accuracy,
    macro_f1,
    mean_rouge_l,
    recall_by_class,
    scores_by_class,
)
from assay.example import Example

LABELS = ["a", "b", "c", "never"]


def examples(*outputs: str) -> list[Example]:
    return [Example.of("q", output, id=str(n)) for n, output in enumerate(outputs)]


def test_label_scores_agree_with_scikit_learn() -> None:
    draw = random.Random(0)
    wanted = [draw.choice("abc") for _ in range(300)]
    given = [w if draw.random() < 0.6 else draw.choice("abc") for w in wanted]
    counts = confusion_counts(given, examples(*wanted), LABELS)
    assert [row[:3] for row in counts[:3]] == confusion_matrix(wanted, given).tolist()
    assert macro_f1(counts) == pytest.approx(f1_score(wanted, given, average="macro"))
    assert accuracy(counts) == pytest.approx(accuracy_score(wanted, given))
    recalls = recall_score(wanted, given, average=None)
    assert list(recall_by_class(LABELS, counts).values()) == pytest.approx(list(recalls))


def test_answers_outside_the_set_are_other() -> None:
    counts = confusion_counts(["A.", "who knows", "b"], examples("a", "a", "a"), LABELS)
    assert counts[0] == [1, 1, 0, 0, 1]
    assert recall_by_class(LABELS, counts) == {"a": pytest.approx(1 / 3)}
    # a: 2·1/(3+1); b: answered, never expected: 0; c and never: left out
    assert macro_f1(counts) == pytest.approx((0.5 + 0.0) / 2)


def test_a_further_accepted_label_is_right() -> None:
    example = Example.of("q", "a", references=("b",))
    assert confusion_counts(["b"], [example], LABELS)[0] == [1, 0, 0, 0, 0]


def test_field_accuracy_counts_missing_invented_and_unreadable() -> None:
    wanted = examples('{"city": "Bern", "days": 2}', '{"city": "Rome"}', '{"city": "Oslo"}')
    given = ['{"days": 2.0, "city": "Bern", "mood": 1}', '{"city": "Rome", "days": 1}', "sorry"]
    assert field_accuracy(given, wanted) == {"city": pytest.approx(2 / 3), "days": 0.5}


def test_corpus_chrf_is_sacrebleus_with_a_varying_number_of_references() -> None:
    several = Example.of("q", "the cat sat", references=("a cat was sitting",))
    single = Example.of("q", "good morning to you")
    given = ["a cat was sitting here", "good morning"]
    expected = CHRF().corpus_score(
        given, [["the cat sat", "good morning to you"], ["a cat was sitting", None]]
    )
    assert corpus_chrf(given, [several, single]) == pytest.approx(expected.score / 100)


def test_rouge_takes_the_best_reference() -> None:
    example = Example.of("q", "x y", references=("one two three",))
    assert mean_rouge_l(["one two three", "x"], [example, example]) == pytest.approx(
        (1 + 2 / 3) / 2
    )


def test_each_task_has_its_scores() -> None:
    rows = examples("a", "b")
    assert corpus_scores("label", ["a", "a"], rows) == {
        "accuracy": 0.5,
        "macro-f1": pytest.approx(1 / 3),
    }
    assert set(corpus_scores("text", ["a", "a"], rows)) == {"corpus-chrf", "rouge-l"}
    assert corpus_scores("json", ["1", "2"], rows) == {}
    assert corpus_scores("label", [], []) == {}
    assert scores_by_class("label", ["a", "a"], rows) == {"a": 1.0, "b": 0.0}
    assert scores_by_class("json", ['{"x": 1}'], examples('{"x": 1}')) == {"x": 1.0}
    assert scores_by_class("text", ["a", "a"], rows) == {}
    assert corpus_chrf([], []) == mean_rouge_l([], []) == 0.0
