"""Means of bounded values when a bootstrap cannot be trusted alone: few or uneven groups, and
collapses so rare that none was seen. Pure: every draw comes from the seed that is passed in.

Each of these, and the studentised bootstrap of `evaluate/resampling.py`, is an `ErrorModel` of the
same means; a verdict takes the `Strictest` of two or three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy

from assay.evaluate.resampling import Units, blocks
from assay.evaluate.stats import Floats, Groups, group_sizes

Flags = npt.NDArray[np.bool_]


class ErrorModel(Protocol):
    """What can be said of the true means of columns of values."""

    def interval(self, alpha: float) -> tuple[Floats, Floats]:
        """Two-sided intervals at `alpha`: low [columns], high [columns]."""
        ...

    def above_p(self, bound: float) -> Floats:
        """[columns], one-sided p of the hypothesis that the mean is `bound` or less."""
        ...

    def negated(self) -> ErrorModel:
        """The same of −values, without drawing again."""
        ...


@dataclass(frozen=True, slots=True)
class Strictest:
    """Of two error models the larger p and the outer limits, so that either may be too bold.

    Attributes:
        where: [columns], of which the other counts, too; else `one` alone does.
    """

    one: ErrorModel
    other: ErrorModel
    where: Flags | bool = True

    def interval(self, alpha: float) -> tuple[Floats, Floats]:
        """The outer limits of both."""
        (low, high), (lower, higher) = self.one.interval(alpha), self.other.interval(alpha)
        return (
            np.where(self.where, np.minimum(low, lower), low),
            np.where(self.where, np.maximum(high, higher), high),
        )

    def above_p(self, bound: float) -> Floats:
        """The larger p of both."""
        p, other = self.one.above_p(bound), self.other.above_p(bound)
        return np.where(self.where, np.maximum(p, other), p)

    def negated(self) -> Strictest:
        """The same of −values, without drawing again."""
        return Strictest(self.one.negated(), self.other.negated(), self.where)


@dataclass(frozen=True, slots=True)
class Gaffke:
    """Gaffke's bound on a mean of bounded values: it reckons with what was not seen.

    Of n values and one more at the worst bound, means are drawn with the weights of n + 1 uniform
    spacings (a flat Dirichlet); their quantile is the limit. For values that are 0 or 1 it is
    Clopper and Pearson's. No counterexample to its level is known; that there is none is
    conjectured (Gaffke 2005, "Three test statistics for a nonparametric one-sided hypothesis on
    the mean of a nonnegative variable"; Learned-Miller and Thomas 2020, "A new confidence
    interval for the mean of a bounded random variable", arXiv:1905.06208).

    Attributes:
        low, high: [resamples, columns], sorted means with the one more at the least or the most.
    """

    low: Floats
    high: Floats

    @classmethod
    def of(
        cls,
        values: Floats,
        resamples: int,
        rng: np.random.Generator,
        *,
        least: Floats | float,
        most: Floats | float,
    ) -> Gaffke:
        """Draw the means of `values` [examples, columns] that lie between `least` and `most`."""
        low, high = (np.empty((resamples, values.shape[1])) for _ in range(2))
        done = 0
        for rows in blocks(resamples, len(values) + 1):
            spacings = rng.standard_exponential((rows, len(values) + 1))
            spacings /= spacings.sum(axis=1, keepdims=True)
            seen, unseen = spacings[:, 1:] @ values, spacings[:, :1]
            low[done : done + rows] = seen + unseen * least
            high[done : done + rows] = seen + unseen * most
            done += rows
        low.sort(axis=0)
        high.sort(axis=0)
        return cls(low, high)

    def interval(self, alpha: float) -> tuple[Floats, Floats]:
        """Limits, each one-sided at alpha/2."""
        tail = max(int(alpha / 2 * (len(self.low) + 1)), 1) - 1
        return self.low[tail], self.high[len(self.high) - 1 - tail]

    def above_p(self, bound: float) -> Floats:
        """The share of drawn means at or below `bound`."""
        reached = (self.low <= bound + 1e-12).sum(axis=0)
        p: Floats = (reached + 1) / (len(self.low) + 1)
        return p

    def negated(self) -> Gaffke:
        """The same of −values, without drawing again."""
        return Gaffke(-self.high[::-1], -self.low[::-1])


@dataclass(frozen=True, slots=True)
class ClusterJackknife:
    """Student's t of a mean over groups, with the error from leaving out one group at a time.

    Leaving a large group out moves the mean far, which a bootstrap of few groups hardly shows. The
    degrees of freedom are those of the effective number of groups (MacKinnon, Nielsen and Webb
    2023, Journal of Applied Econometrics 38:671-694, CV3; Carter, Schnepel and Steigerwald 2017,
    Review of Economics and Statistics 99:698-709, on effective clusters).

    Attributes:
        mean, error: [columns].
        freedom: degrees of freedom.
        least, most: bounds of the mean, [columns].
    """

    mean: Floats
    error: Floats
    freedom: float
    least: Floats
    most: Floats

    @classmethod
    def of(cls, data: Units, *, least: Floats | float, most: Floats | float) -> ClusterJackknife:
        """Of values summed by group; the error is 0 where there are no two groups."""
        columns = data.sums.shape[1]
        bounds = np.full(columns, least, float), np.full(columns, most, float)
        sizes, count = data.sizes, len(data.sizes)
        if count < 2:
            return cls(data.means, np.zeros(columns), 1.0, *bounds)
        without = (data.sums.sum(axis=0) - data.sums) / (sizes.sum() - sizes)[:, None]
        error = np.sqrt(((without - data.means) ** 2).sum(axis=0) * (count - 1) / count)
        freedom = max(float(sizes.sum() ** 2 / (sizes @ sizes)) - 1, 1.0)
        return cls(data.means, error, freedom, *bounds)

    def interval(self, alpha: float) -> tuple[Floats, Floats]:
        """mean ± t · error, within the bounds."""
        reach = -float(scipy.special.stdtrit(self.freedom, alpha / 2)) * self.error
        return (
            np.maximum(self.mean - reach, self.least),
            np.minimum(self.mean + reach, self.most),
        )

    def above_p(self, bound: float) -> Floats:
        """Student's t of (mean − bound) / error; 0 or 1 where the error is 0."""
        gap = self.mean - bound
        known = self.error > 1e-12
        without_error = np.where(gap == 0, 0.0, np.where(gap > 0, np.inf, -np.inf))
        t = np.where(known, gap / np.where(known, self.error, 1.0), without_error)
        p: Floats = np.asarray(scipy.special.stdtr(self.freedom, -t), dtype=float)
        return p

    def negated(self) -> ClusterJackknife:
        """The same of −values, without drawing again."""
        return ClusterJackknife(-self.mean, self.error, self.freedom, -self.most, -self.least)


def effective_groups(groups: Groups) -> float:
    """As many groups of equal size would say as much of a mean: (Σn)²/Σn² (Kish 1965)."""
    sizes = np.array(group_sizes(groups), dtype=float)
    return float(sizes.sum() ** 2 / (sizes @ sizes)) if len(sizes) else 0.0


def two_sided_p(model: ErrorModel) -> Floats:
    """[columns], two-sided p of the hypothesis that the mean is 0."""
    p: Floats = np.minimum(2 * np.minimum(model.above_p(0.0), model.negated().above_p(0.0)), 1.0)
    return p
