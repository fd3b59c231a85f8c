"""token-f1, rouge-l, chrf, and consistency."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from sacrebleu.metrics import CHRF

from assay.config import GraderSpec
from assay.evaluate.graders import AnswerScores, GradingContext, grade
from assay.example import Example


def score(name: str, answer: str, *accepted: str) -> float:
    example = Example.of("question", accepted[0], references=accepted[1:])
    return grade(GraderSpec(name=name), [answer], [example], GradingContext()).scores[0]


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("The cat sat.", "a cat sat", 1),
        ("cat sat", "cat ran", 1 / 2),
        ("cat cat cat", "cat", 1 / 2),
        ("dog", "cat", 0),
        ("", "cat", 0),
        ("the", "a", 1),  # nothing is left of either, as in SQuAD 2.0
        ("Größe", "größe!", 1),
    ],
)
def test_token_f1(answer: str, reference: str, expected: float) -> None:
    assert score("token-f1", answer, reference) == pytest.approx(expected)


WORDS = st.lists(
    st.sampled_from(["the", "cat", "Cat,", "x-y", "a_b", "42", "."]), min_size=1, max_size=12
)


@settings(deadline=None)  # the first call loads a library
@given(answer=WORDS, reference=WORDS)
def test_rouge_l_is_that_of_rouge_score_on_ascii(answer: list[str], reference: list[str]) -> None:
    ours = score("rouge-l", " ".join(answer), " ".join(reference))
    own = rouge_scorer.RougeScorer(["rougeL"])
    theirs = own.score(" ".join(reference), " ".join(answer))["rougeL"].fmeasure
    assert ours == theirs or not any(char.isalnum() for char in "".join(reference))


def test_rouge_l_reads_every_script() -> None:
    assert score("rouge-l", "Größe Übermut Ärger", "größe übermut ärger") == 1
    assert score("rouge-l", "große Katze", "größe katze") == 0.5
    assert score("rouge-l", "?!", "?!") == 1


def test_chrf_is_sacrebleus_and_takes_the_best_reference() -> None:
    answer, references = "the cat sat down", ["the dog", "a cat sat"]
    expected = CHRF().sentence_score(answer, references).score / 100
    assert score("chrf", answer, *references) == pytest.approx(expected)
    assert score("chrf", "", "x") == 0
    assert score("chrf", " ", "") == 1


def consistent(answers: list[str], groups: list[str | None], **settings: Any) -> AnswerScores:
    examples = [Example.of("q", "x", id=str(n), group=group) for n, group in enumerate(groups)]
    spec = GraderSpec(name="consistency", settings=settings)
    return grade(spec, answers, examples, GradingContext())


def test_consistency_is_the_share_of_the_others_that_agree() -> None:
    result = consistent(["a", "A ", "b", "c", "c"], ["1", "1", "1", "2", "2"])
    assert result.scores == [0.5, 0.5, 0, 1, 1]
    assert result.mean == pytest.approx(0.6)


def test_an_example_alone_in_its_group_is_not_counted() -> None:
    result = consistent(["a", "b", "a", "a"], ["1", None, "2", "1"])
    assert result.counted == [True, False, False, True]
    assert result.mean == 1
    assert result.notes[1] == "alone in its group"
    assert consistent(["a"], [None]).mean is None


def test_two_blank_answers_do_not_agree() -> None:
    result = consistent(["", " ", "a"], ["1", "1", "1"])
    assert result.scores == [0, 0, 0]
    assert result.parsed == [False, False, True]


def test_agreement_can_be_by_words_or_by_record() -> None:
    assert consistent(["a b c", "b c"], ["1", "1"], compare="token-f1").scores == [1, 1]
    records = consistent(
        ['{"a": 1, "b": 2}', '{"b": 2, "a": 1}', "no"], ["1"] * 3, compare="record-exact"
    )
    assert records.scores == [0.5, 0.5, 0]
    assert records.parsed == [True, True, False]
