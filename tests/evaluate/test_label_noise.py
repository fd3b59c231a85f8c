"""Which labels are doubtful: those that all or nearly all who know the job agree against."""

from __future__ import annotations

from assay.evaluate.label_noise import Rater, doubtful_rows

LABELS = "aabbcc"


def rater(answers: str) -> Rater:
    """Answers are letters, `-` cannot be read; the labels are LABELS."""
    pairs = zip(answers, LABELS, strict=True)
    scores = [float(answer == label) for answer, label in pairs]
    return Rater(answers, [None if a == "-" else a for a in answers], scores)


def doubted(*answers: str) -> list[int]:
    return [row for row, yes in enumerate(doubtful_rows([rater(one) for one in answers])) if yes]


def test_all_have_to_give_the_same_answer_and_a_wrong_one() -> None:
    assert doubted("bacbcc", "bbabcc") == [0]
    # The row 2 is missed by both, with different answers; the row 1 by one alone.
    assert doubted("aabbcc", "aabbcc") == []


def test_an_answer_that_cannot_be_read_agrees_with_nobody() -> None:
    assert doubted("--bbcc", "--bbcc") == []


def test_one_of_five_may_say_something_else_and_one_of_four_may_not() -> None:
    right, other = "aabbcc", "babbcc"
    assert doubted(other, other, other, other, right) == [0]
    assert doubted(other, other, other, right) == []
    assert doubted(other, other, other, right, right) == []


def test_who_scores_no_more_than_half_does_not_know_the_job() -> None:
    assert not rater("aabaaa").knows
    assert rater("aabbaa").knows
