"""Prediction-powered inference: a mean of scores from a few labelled examples, and many inputs that
a model has labelled. Pure.

An example's predicted score is what its answer scores against a model's label. The mean over all
inputs of predicted scores is corrected by how far these lie from the true ones where both are
known, so that it has no bias, however wrong the model is (Angelopoulos, Bates, Fannjiang, Jordan
and Zrnic 2023, Science 382:669, arXiv:2301.09633; of several models that are compared: Boyeau et
al. 2024, "AutoEval done right", arXiv:2403.07008):

    mean over labelled of (y − w f) + w · mean over unlabelled of f

The weight w is the one of least variance, cov(y, f) / ((1 + n/N) var f), between 0 and 1
(Angelopoulos, Duchi and Zrnic 2023, PPI++, arXiv:2311.01453), and that of an example comes from the
other folds, so that it does not depend on its own label (cross-fitting; Zrnic and Candès 2024,
PNAS 121:e2322083121).

Where a model is hardly ever wrong, a few labelled rows have hardly seen how it is wrong, and the
normal interval is too short. So values at both bounds of y − w f are added to the labelled ones
(Agresti and Coull 1998, The American Statistician 52:119, do so for a proportion, Agresti and Min
2005, Statistics in Medicine 24:729, for a paired difference), and the quantile is Student's with
Satterthwaite's degrees of freedom. The unit is the group, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from pydantic import Field

from assay.config.strict import ClosedModel
from assay.evaluate.bounds import effective_groups
from assay.evaluate.stats import Floats, Groups, group_numbers

LEAST_LABELLED, LEAST_UNLABELLED = 30, 100
"""Effective groups below which no interval is given; simulated are 50 and more."""
UNLIKE = 0.01
"""Inputs are taken to come from another source where `shift_p` is below it."""
FOLDS = 5
ADDED_TO_SCORES, ADDED_TO_DIFFERENCES = 1.0, 0.5
"""Rows that are added at each bound."""


class PoweredScore(ClosedModel):
    """A candidate's score with its prediction-powered 95 % interval.

    Attributes:
        worth: labelled examples alone that would give as narrow an interval.
    """

    candidate: str
    score: float
    low: float
    high: float
    worth: int


class PoweredDifference(ClosedModel):
    """The score of a minus that of b, likewise."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    worth: int


class PredictionPowered(ClosedModel):
    """What inputs that a model labels add to the labelled ones.

    Attributes:
        model: that labels, the annotator.
        labelled: rows of the holdout; `unlabelled`: inputs that counted beside them.
        twins: inputs left out, since they say the same as a labelled row, or nearly.
        annotator_score: what the annotator's own labels score on the holdout.
        usd: of all of its labels; null where that is not known.
        withheld: why there are no intervals; null where there are.
    """

    model: str
    labelled: int
    unlabelled: int
    twins: int
    annotator_score: float
    usd: float | None = None
    withheld: str | None = None
    scores: list[PoweredScore] = Field(default_factory=list)
    pairs: list[PoweredDifference] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PoweredMeans:
    """Means of columns, each with its interval.

    Attributes:
        mean, low, high: [columns].
        weight: [columns], w: 0 where the predicted scores say nothing, 1 where they say all.
    """

    mean: Floats
    low: Floats
    high: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class Sample:
    """Columns of values between bounds, with the group of each row.

    Attributes:
        values: [rows, columns].
        groups: of the rows; None where they are independent.
    """

    values: Floats
    groups: Groups | None = None

    @property
    def members(self) -> NDArray[np.intp]:
        """The group of each row, numbered from 0."""
        if self.groups is None:
            return np.arange(len(self.values))
        return group_numbers(self.groups)

    def variance_of_mean(self) -> Floats:
        """[columns], of the mean over rows, linearised over groups."""
        return self._squares(self.values.mean(axis=0)) / len(self.values) ** 2

    @property
    def units(self) -> float:
        """Effective groups; rows, where these are independent."""
        return float(len(self.values)) if self.groups is None else effective_groups(self.groups)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of a variance."""
        return max(self.units - 1, 1.0)

    def sums(self, values: Floats) -> Floats:
        """[groups, columns], of such values summed by group."""
        if self.groups is None:
            return values
        members = self.members
        found = np.zeros((int(members.max()) + 1, values.shape[1]))
        np.add.at(found, members, values)
        return found

    def _squares(self, centre: Floats) -> Floats:
        """Sum over groups of squared distances of their sums from `centre`, one of them lost."""
        sums = self.sums(self.values - centre)
        squares: Floats = (sums**2).sum(axis=0) * len(sums) / max(len(sums) - 1, 1)
        return squares

    def with_bounds(self, least: Floats, most: Floats, added: Floats) -> tuple[Floats, Floats]:
        """Mean and its variance, with `added` rows, each its own group, at each bound."""
        total = len(self.values) + 2 * added
        centre = (self.values.sum(axis=0) + added * (least + most)) / total
        ends = added * ((least - centre) ** 2 + (most - centre) ** 2)
        return centre, (self._squares(centre) + ends) / total**2


def powered_means(
    scores: Floats,
    predicted: Sample,
    unlabelled: Sample,
    *,
    least: Floats,
    alpha: float = 0.05,
) -> PoweredMeans:
    """Means over what both samples were drawn from, with intervals at 1 − alpha.

    Args:
        scores: [labelled rows, columns], true scores up to 1, or differences of two of them.
        predicted: the same rows and columns against the model's labels.
        unlabelled: the same columns of the inputs that nobody has labelled.
        least: [columns], 0 of scores, −1 of differences.
    """
    of_all = unlabelled.values.mean(axis=0)
    weights = _weights(scores, predicted, len(unlabelled.values))
    weight = weights.mean(axis=0)
    corrected = Sample(scores - weights * (predicted.values - of_all), predicted.groups)
    added = np.where(least < 0, ADDED_TO_DIFFERENCES, ADDED_TO_SCORES)
    lowest, highest = least - weight * (1 - of_all), 1 + weight * (of_all - least)
    mean, labelled = corrected.with_bounds(lowest, highest, added)
    rest = weight**2 * unlabelled.variance_of_mean()
    variance = labelled + rest
    freedom = variance**2 / (labelled**2 / corrected.freedom + rest**2 / unlabelled.freedom)
    reach = -scipy.special.stdtrit(freedom, alpha / 2) * np.sqrt(variance)
    unbiased = np.clip(corrected.values.mean(axis=0), least, 1.0)
    low, high = np.maximum(mean - reach, least), np.minimum(mean + reach, 1.0)
    return PoweredMeans(unbiased, np.minimum(low, unbiased), np.maximum(high, unbiased), weight)


def shift_p(predicted: Sample, unlabelled: Sample) -> float:
    """p of the hypothesis that labelled and unlabelled inputs come from one source.

    Of predicted scores, whose means then differ by chance alone: two-sided and normal, the smallest
    of all columns times their number (Bonferroni). A few rows that all score alike have no variance
    of their own; they have at least what as many of the many would have.
    """
    apart = predicted.values.mean(axis=0) - unlabelled.values.mean(axis=0)
    least = unlabelled.values.var(axis=0) / len(predicted.values)
    error = np.sqrt(np.maximum(predicted.variance_of_mean(), least) + unlabelled.variance_of_mean())
    known = error > 0
    z = np.abs(apart) / np.where(known, error, 1.0)
    p = np.where(known, 2 * scipy.special.ndtr(-z), np.where(apart == 0, 1.0, 0.0))
    return min(1.0, float(p.min()) * len(p))


def _weights(scores: Floats, predicted: Sample, unlabelled: int) -> Floats:
    """w of each row and column, [rows, columns], from the other folds. Whole groups make a fold;
    which, is drawn, and does not depend on the order of the rows."""
    sums = predicted.sums(np.concatenate([scores, predicted.values], axis=1))
    by_content = np.lexsort(np.round(sums.T, 9))
    fold_of_group = np.empty(len(sums), dtype=np.intp)
    drawn = np.random.default_rng(0).permutation(by_content)
    fold_of_group[drawn] = np.arange(len(sums)) % FOLDS
    fold = fold_of_group[predicted.members]
    weights = np.zeros_like(predicted.values)
    for one in range(FOLDS):
        others = fold != one
        if others.any():
            weights[~others] = _weight(scores[others], predicted.values[others], unlabelled)
    return weights


def _weight(scores: Floats, predicted: Floats, unlabelled: int) -> Floats:
    apart = predicted - predicted.mean(axis=0)
    spread = (apart**2).sum(axis=0)
    together = ((scores - scores.mean(axis=0)) * apart).sum(axis=0)
    weight = together / np.where(spread > 0, spread, 1.0) / (1 + len(scores) / unlabelled)
    clipped: Floats = np.clip(np.where(spread > 0, weight, 0.0), 0.0, 1.0)
    return clipped
