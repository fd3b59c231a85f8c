"""Resampling of paired scores: sign flips for "is there a difference", the studentised bootstrap
for intervals and for "is it no worse". Pure: every draw comes from the seed that is passed in.

The unit that is drawn or flipped is the group; without groups each example is a group of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy

from assay.evaluate.stats import Floats, Groups, clopper_pearson_upper, group_numbers

_BLOCK = 1 << 21
"""Entries of a block of resampling weights: bounds memory at about 16 MiB an array."""
_TIE = 1e-9
"""Sums closer than this, relative to their scale, are the same number computed twice."""


@dataclass(frozen=True, slots=True)
class Units:
    """Scores summed over the unit of resampling.

    Attributes:
        sums: [units, columns], the sum over the examples of a unit.
        sizes: [units], the number of examples in it.
    """

    sums: Floats
    sizes: Floats

    @property
    def means(self) -> Floats:
        """[columns], the mean over all examples."""
        total = float(self.sizes.sum())
        return self.sums.sum(axis=0) / total if total else np.zeros(self.sums.shape[1])


def units(values: Floats, groups: Groups | None = None) -> Units:
    """Sum `values` [examples, columns] by group; each example is its own unit when None.

    Units come in an order that depends on their content alone, so that no figure depends on the
    order of the examples or on the names of the groups.
    """
    if groups is None:
        sums, sizes = values, np.ones(len(values))
    else:
        member = group_numbers(groups)
        sizes = np.bincount(member).astype(float)
        # Summing sorted values makes the sum independent of the order of the examples.
        order = np.lexsort([*values.T[::-1], member]) if values.size else np.arange(len(values))
        sums = np.zeros((len(sizes), values.shape[1]))
        np.add.at(sums, member[order], values[order])
    order = np.lexsort([*sums.T[::-1], sizes]) if len(sums) else np.arange(0)
    return Units(np.asarray(sums[order], dtype=float), sizes[order])


def sign_flip_p(differences: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Two-sided p of no difference, by flipping the signs of whole units.

    Exact (all 2^k flips of the k units that differ) where that takes no more than `resamples`
    flips, else Monte Carlo with (b + 1) / (m + 1) (Phipson and Smyth 2010, Statistical
    Applications in Genetics and Molecular Biology 9:39), which never gives 0.

    Args:
        differences: [units, pairs], the summed differences of each unit.

    Returns:
        [pairs]
    """
    p = np.ones(differences.shape[1])
    informative = np.count_nonzero(differences, axis=0)
    exact = (informative > 0) & (informative <= np.log2(resamples))
    for pair in np.flatnonzero(exact):
        column = differences[:, pair]
        p[pair] = _all_flips_p(column[column != 0])
    sampled = np.flatnonzero((informative > 0) & ~exact)
    if len(sampled):
        chosen = np.ascontiguousarray(differences[:, sampled])
        seen = np.abs(chosen.sum(axis=0)) - _TIE * np.abs(chosen).sum(axis=0)
        as_far = np.zeros(len(sampled))
        for rows in blocks(resamples, len(chosen)):
            bits = np.unpackbits(
                rng.integers(0, 256, (rows, -(-len(chosen) // 8)), dtype=np.uint8), axis=1
            )
            signs = bits[:, : len(chosen)] * 2.0 - 1.0
            as_far += (np.abs(signs @ chosen) >= seen).sum(axis=0)
        p[sampled] = (as_far + 1) / (resamples + 1)
    return p


def _all_flips_p(differences: Floats) -> float:
    """Exact two-sided p over all sign flips of at most some 15 values."""
    sums = np.zeros(1)
    for value in differences:
        sums = np.concatenate([sums + value, sums - value])
    seen = abs(differences.sum()) - _TIE * np.abs(differences).sum()
    return float((np.abs(sums) >= seen).mean())


@dataclass(frozen=True, slots=True)
class StudentisedBootstrap:
    """Means of bounded values, with what a studentised bootstrap says of their error.

    Attributes:
        mean: [columns]
        error: [columns], standard error of the mean over units; 0 where all units agree.
        t: [resamples, columns], sorted (mean* − mean) / error* of the resamples.
        events: what few deviating units say, see `_RareEvents`.
    """

    mean: Floats
    error: Floats
    t: Floats
    events: _RareEvents

    def interval(self, alpha: float) -> tuple[Floats, Floats]:
        """Two-sided intervals at `alpha`: low [columns], high [columns]."""
        count = len(self.t)
        tail = min(max(int(alpha / 2 * (count + 1)), 1), count) - 1 if count else 0
        low, high = np.full_like(self.mean, -np.inf), np.full_like(self.mean, np.inf)
        known = self.error > 0
        if count:
            low[known] = (self.mean - self.error * self.t[count - 1 - tail])[known]
            high[known] = (self.mean - self.error * self.t[tail])[known]
        least, most = self.events.limits(alpha / 2)
        return (
            np.minimum(np.maximum(low, least), self.mean),
            np.maximum(np.minimum(high, most), self.mean),
        )

    def above_p(self, bound: float) -> Floats:
        """[columns], one-sided p of the hypothesis that the mean is `bound` or less."""
        by_events = self.events.above_p(bound)
        known = self.error > 0
        distance = (self.mean - bound) / np.where(known, self.error, 1.0)
        reached = (self.t >= distance - _TIE * (1 + np.abs(distance))).sum(axis=0)
        by_bootstrap = np.where(known, (reached + 1) / (len(self.t) + 1), 1.0)
        return np.minimum(by_bootstrap, by_events)

    def negated(self) -> StudentisedBootstrap:
        """The same of −values, without drawing again."""
        return StudentisedBootstrap(-self.mean, self.error, -self.t[::-1], self.events.negated())


def studentise(
    data: Units,
    resamples: int,
    rng: np.random.Generator,
    *,
    least: Floats | float,
    most: Floats | float,
) -> StudentisedBootstrap:
    """Bootstrap-t of the mean of each column, whole units drawn with replacement.

    The mean is a ratio (sum over units / examples in them); its standard error in the sample and
    in each resample is the linearised one, so that t* needs no second bootstrap (Efron 1981,
    Canadian Journal of Statistics 9:139-172; Cameron, Gelbach and Miller 2008, Review of Economics
    and Statistics 90:414-427, for clusters). A resample without any spread has t* = ±∞, which
    widens the interval, as it should.

    Args:
        least, most: the bounds of a single value, -1 and 1 for differences; one for all columns or
            [columns].
    """
    sums, sizes = data.sums, data.sizes
    count, total = len(sizes), float(sizes.sum())
    mean = data.means
    events = _RareEvents.of(data, least, most)
    columns = sums.shape[1]
    if count < 2:
        return StudentisedBootstrap(mean, np.zeros(columns), np.zeros((0, columns)), events)
    residuals = sums - mean * sizes[:, None]
    spread = (residuals**2).sum(axis=0)
    scale = np.maximum(np.abs(sums).max(axis=0), 1e-300) ** 2 * count
    error = np.where(spread > _TIE * _TIE * scale, np.sqrt(spread * count / (count - 1)), 0.0)
    equal = bool((sizes == sizes[0]).all())
    parts = [residuals, residuals**2]
    if not equal:
        parts += [residuals * sizes[:, None], sizes[:, None], sizes[:, None] ** 2]
    stacked = np.ascontiguousarray(np.concatenate(parts, axis=1))
    t = np.empty((resamples, columns))
    done = 0
    for rows in blocks(resamples, count):
        drawn = _draws(rows, count, rng) @ stacked
        moved, squares = drawn[:, :columns], drawn[:, columns : 2 * columns]
        if equal:
            rest = moved**2 / count
        else:
            cross, drawn_total = drawn[:, 2 * columns : 3 * columns], drawn[:, -2:-1]
            ratio = moved / drawn_total
            rest = 2 * ratio * cross - ratio**2 * drawn[:, -1:]
        variance = squares - rest
        flat = variance <= _TIE * squares
        root = np.sqrt(np.where(flat, 1.0, variance) * count / (count - 1))
        still = np.abs(moved) <= _TIE * np.sqrt(scale)
        with np.errstate(invalid="ignore"):
            infinite = np.where(still, 0.0, np.copysign(np.inf, moved))
        t[done : done + rows] = np.where(flat, infinite, moved / root)
        done += rows
    t.sort(axis=0)
    return StudentisedBootstrap(mean, error / total, t, events)


@dataclass(frozen=True, slots=True)
class _RareEvents:
    """What follows from counting units that deviate from the most common value.

    A bootstrap knows nothing of what it has not seen: with 3 deviating units in 500, or none, it
    has no spread to draw from. Values are bounded, so a mean that lies `x` below the most common
    value needs deviations at a rate of at least x / (common − least); the number of deviating
    units is binomial, which gives exact limits and tests. They bite only where deviations are few.

    Attributes:
        common: [columns], the most common unit mean.
        below, above: [columns], units below and above it.
        count: units.
        skew: largest unit size / mean unit size; a rare unit may weigh this much more.
        least, most: [columns], bounds of a value.
    """

    common: Floats
    below: Floats
    above: Floats
    count: int
    skew: float
    least: Floats
    most: Floats

    @classmethod
    def of(cls, data: Units, least: Floats | float, most: Floats | float) -> _RareEvents:
        columns = data.sums.shape[1]
        least, most = np.full(columns, least), np.full(columns, most)
        count = len(data.sizes)
        common = np.zeros(columns)
        if not count:
            return cls(common, common, common, 0, 1.0, least, most)
        values = np.round(data.sums / data.sizes[:, None], 9)
        for column in range(columns):
            distinct, times = np.unique(values[:, column], return_counts=True)
            often = distinct[times == times.max()]
            nearest = often[np.abs(often) == np.abs(often).min()]
            # Between +x and −x neither side may win: any value serves, 0 is the fair one.
            common[column] = nearest[0] if len(nearest) == 1 else 0.0
        below, above = (values < common).sum(axis=0), (values > common).sum(axis=0)
        skew = float(data.sizes.max() / data.sizes.mean())
        return cls(common, below.astype(float), above.astype(float), count, skew, least, most)

    def limits(self, alpha: float) -> tuple[Floats, Floats]:
        """One-sided limits at `alpha` of the mean, from below and from above."""
        if not self.count:
            return self.least, self.most
        fewer = np.minimum(clopper_pearson_upper(self.below, self.count, alpha) * self.skew, 1.0)
        more = np.minimum(clopper_pearson_upper(self.above, self.count, alpha) * self.skew, 1.0)
        return (
            self.common - fewer * (self.common - self.least),
            self.common + more * (self.most - self.common),
        )

    def above_p(self, bound: float) -> Floats:
        """One-sided p of the hypothesis that the mean is `bound` or less."""
        room = self.common - self.least
        rate = np.where(room > 0, (self.common - bound) / np.where(room > 0, room, 1.0), 0.0)
        rate = np.clip(rate / self.skew, 0.0, 1.0)
        return np.where(rate > 0, scipy.special.bdtr(self.below, self.count, rate), 1.0)

    def negated(self) -> _RareEvents:
        return _RareEvents(
            -self.common, self.above, self.below, self.count, self.skew, -self.most, -self.least
        )


def blocks(resamples: int, width: int) -> Iterator[int]:
    """Row counts that add up to `resamples`, each block at most `_BLOCK` entries."""
    size = max(1, _BLOCK // max(width, 1))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _draws(rows: int, count: int, rng: np.random.Generator) -> Floats:
    """[rows, count]: how often each unit is drawn when `count` are drawn with replacement."""
    picks = rng.integers(0, count, (rows, count))
    picks += np.arange(rows)[:, None] * count
    return np.bincount(picks.ravel(), minlength=rows * count).reshape(rows, count).astype(float)
