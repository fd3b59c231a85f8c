"""Rows whose label the candidates agree against: a person should look at them again. Pure.

Candidates that know a job and were made in different ways seldom make the same mistake on the same
row. Where they give one and the same answer that is not the label, either the label is wrong or
the row is hard; only a person can say which. What is wrong in the labels limits what can be
measured by them, and that limit is the ceiling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from assay.config.strict import ClosedModel

LEAST_SCORE = 0.5
"""Whoever is wrong more often than right says nothing against a label."""
LEAST_RATERS = 2
DISSENT = 5
"""One of so many raters may say something else."""


class SecondLook(ClosedModel):
    """Rows of a holdout whose label is doubtful, and what follows if all these labels are wrong.

    Attributes:
        raters: the candidates that were asked, each of which knows the job.
        agreeing: as many of them give the same answer at least.
        rows: holdout rows that were looked at.
        ids: of the doubtful ones, in the order of the holdout.
        ceiling: what a candidate without a fault would score if all of these labels are wrong.
        low, high: 95 % interval of it, for rows that are labelled in the same way.
    """

    raters: list[str]
    agreeing: int
    rows: int
    ids: list[str]
    ceiling: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rater:
    """A candidate as somebody who labels rows: one answer and one score for each.

    Attributes:
        answers: spelled alike where they mean the same; None where nothing can be read.
        scores: by the primary metric; 0 where nothing in the answer is right.
    """

    name: str
    answers: Sequence[str | None]
    scores: Sequence[float]

    @property
    def knows(self) -> bool:
        """Whether it scores more than half of what can be scored."""
        return sum(self.scores) > LEAST_SCORE * len(self.scores)


def agreeing_at_least(raters: int) -> int:
    """How many of the raters have to agree: all, but for one in five."""
    return raters - raters // DISSENT


def doubtful_rows(raters: Sequence[Rater]) -> list[bool]:
    """For each row, whether all or nearly all raters give one answer that has nothing right.

    Args:
        raters: at least one, of the same rows.
    """
    needed = agreeing_at_least(len(raters))
    return [_agree_against(raters, row) >= needed for row in range(len(raters[0].answers))]


def _agree_against(raters: Sequence[Rater], row: int) -> int:
    """How many give the answer that is the most frequent one of those that have nothing right."""
    wrong = Counter(
        rater.answers[row]
        for rater in raters
        if rater.scores[row] == 0 and rater.answers[row] is not None
    )
    return max(wrong.values(), default=0)
