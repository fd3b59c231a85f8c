"""Every figure of a comparison before anything is concluded from it: intervals of candidates and
pairs, p values of "different" and of "no worse by the margin". Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from assay.compare.entries import Entry, Terms
from assay.evaluate import stats
from assay.evaluate.bounds import ClusterJackknife, ErrorModel, Gaffke, Strictest, two_sided_p
from assay.evaluate.resampling import sign_flip_p, studentise, units
from assay.evaluate.stats import Floats

FEWEST_RESAMPLES = 5_000
MOST_RESAMPLES = 200_000


@dataclass(frozen=True, slots=True)
class ScorePair:
    """a against b on the same examples; `difference` is a − b.

    Attributes:
        low, high: interval of the difference at 1 − alpha, for this pair alone.
        error: standard error of the difference, over groups where there are some.
        p: two-sided, of no difference.
        a_not_worse, b_not_worse: one-sided p of "worse by the margin or more".
        a_acceptable, b_acceptable: the same of `margin_for_cheaper`.
        a_only, b_only: examples that only one has right; None unless scores are 0 or 1.
        squared: mean squared difference of scores (the discordance when they are 0 or 1).
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    error: float
    p: float
    a_not_worse: float
    b_not_worse: float
    a_acceptable: float
    b_acceptable: float
    a_only: int | None
    b_only: int | None
    squared: float

    def turned(self) -> ScorePair:
        """The same figures of b against a."""
        return ScorePair(
            a=self.b,
            b=self.a,
            difference=-self.difference + 0.0,
            low=-self.high + 0.0,
            high=-self.low + 0.0,
            error=self.error,
            p=self.p,
            a_not_worse=self.b_not_worse,
            b_not_worse=self.a_not_worse,
            a_acceptable=self.b_acceptable,
            b_acceptable=self.a_acceptable,
            a_only=self.b_only,
            b_only=self.a_only,
            squared=self.squared,
        )

    @property
    def equivalence(self) -> float:
        """p of two one-sided tests (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657-680)."""
        return max(self.a_not_worse, self.b_not_worse)


@dataclass(frozen=True, slots=True)
class ScoreLimits:
    """Limits of one candidate's score, the error of a judge included.

    Attributes:
        low, high: interval at 1 − alpha, for this candidate alone.
        chosen_low: lower limit if it is the one chosen among all that can be recommended. Chance
            favours whoever is chosen, so each lower limit has alpha/2 divided by their number; the
            upper one stays as it is: choosing the best errs on the other side.
        least: the same at the level of the opening, where that is stricter; of right and wrong
            answers no higher than the exact limit.
        most: upper limit of an interval at the level of the opening; of right and wrong answers no
            lower than the exact limit.
    """

    low: float
    high: float
    chosen_low: float
    least: float
    most: float

    def widened(self, error: float) -> ScoreLimits:
        """Each limit further out by `error`, within what a score can be."""
        lower, upper = (self.low, self.chosen_low, self.least), (self.high, self.most)
        low, chosen_low, least = (max(0.0, limit - error) for limit in lower)
        high, most = (min(1.0, limit + error) for limit in upper)
        return ScoreLimits(low, high, chosen_low, least, most)


@dataclass(frozen=True, slots=True)
class PairFigures:
    """Figures of the complete candidates: scores by name, pairs by (a, b) in entry order."""

    intervals: dict[str, ScoreLimits]
    pairs: dict[tuple[str, str], ScorePair]


def resample_count(terms: Terms, pairs: int, level: float) -> int:
    """Resamples that leave about ten beyond the strictest step of Holm, within bounds."""
    if terms.resamples is not None:
        return terms.resamples
    needed = round(10 * max(pairs, 1) / level)
    return min(max(needed, FEWEST_RESAMPLES), MOST_RESAMPLES)


def measure(
    entries: Sequence[Entry], groups: stats.Groups | None, terms: Terms, level: float
) -> PairFigures:
    """All figures of complete candidates `entries` (checked).

    Binary scores take exact and score methods where few rows have another of their group, with
    counts divided by the design effect as if rows of a group always agreed: a resampling of whole
    groups would tell next to nothing where a handful of answers is wrong. All else is resampled,
    whole groups at a time. The draws do not depend on the order of candidates, examples or group
    names.
    """
    ordered = sorted(entries, key=lambda entry: entry.name)
    couples = list(combinations(range(len(ordered)), 2))
    effect = 1.0 if groups is None else stats.counted_design_effect(stats.group_sizes(groups))
    binary = [effect is not None and _is_binary(entry.values) for entry in ordered]
    drawn_singles = [i for i in range(len(ordered)) if not binary[i]]
    drawn_couples = [(i, j) for i, j in couples if not (binary[i] and binary[j])]

    rivals = max(sum(not entry.floor for entry in entries), 1)
    # Of two-sided intervals: one side of them may spend half.
    chosen = (terms.alpha / rivals, min(terms.alpha, 2 * level) / rivals)
    alphas = (terms.alpha, *chosen, level)
    intervals = {
        entry.name: _binary_limits(entry, alphas, effect)
        for entry, exact in zip(ordered, binary, strict=True)
        if exact and effect is not None
    }
    found = {
        (ordered[i].name, ordered[j].name): _binary_pair(
            ordered[i], ordered[j], groups, effect, terms
        )
        for i, j in couples
        if binary[i] and binary[j] and effect is not None
    }
    if drawn_singles or drawn_couples:
        _add_resampled(
            ordered, groups, terms, alphas, drawn_singles, drawn_couples, intervals, found
        )
    position = {entry.name: i for i, entry in enumerate(entries)}
    in_order = [_orient(pair, position) for pair in found.values()]
    in_order.sort(key=lambda pair: (position[pair.a], position[pair.b]))
    intervals = {name: limits.widened(terms.judge_error) for name, limits in intervals.items()}
    return PairFigures(intervals, {(pair.a, pair.b): pair for pair in in_order})


def _binary_limits(entry: Entry, alphas: Sequence[float], effect: float) -> ScoreLimits:
    """Wilson's limits; those that decide what is good enough are no closer than the exact ones:
    of a true 95 in 100, Wilson's upper limit is below it in 9 of 100 holdouts of ten rows."""
    right, n = float(entry.values.sum()) / effect, len(entry.values) / effect
    (low, high), (chosen_low, _), (least, _), (_, most) = (
        stats.wilson(right, n, alpha) for alpha in alphas
    )
    *_, enough, needed = alphas
    least = min(least, 1.0 - float(stats.clopper_pearson_upper(n - right, n, enough / 2)))
    most = max(most, float(stats.clopper_pearson_upper(right, n, needed / 2)))
    return ScoreLimits(low, high, chosen_low, least, most)


def _is_binary(values: Floats) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _is_binary_pair(a: Entry, b: Entry) -> bool:
    return _is_binary(a.values) and _is_binary(b.values)


def _binary_pair(
    a: Entry, b: Entry, groups: stats.Groups | None, effect: float, terms: Terms
) -> ScorePair:
    a_only, b_only = _discordant(a, b)
    n, cheaper = len(a.values), terms.margin_for_cheaper or terms.margin
    difference, squared = ((a_only - b_only) / n, (a_only + b_only) / n) if n else (0.0, 0.0)
    net = units((a.values - b.values)[:, np.newaxis], groups).sums
    a_counts, b_counts, counts = a_only / effect, b_only / effect, n / effect
    low, high = stats.tango_interval(a_counts, b_counts, counts, terms.alpha)
    return ScorePair(
        a=a.name,
        b=b.name,
        difference=difference,
        low=low,
        high=high,
        error=math.sqrt((squared - difference**2) / (counts - 1)) if counts > 1 else 0.0,
        p=stats.mcnemar(int((net > 0).sum()), int((net < 0).sum())),
        a_not_worse=stats.tango_not_worse_p(a_counts, b_counts, counts, terms.margin),
        b_not_worse=stats.tango_not_worse_p(b_counts, a_counts, counts, terms.margin),
        a_acceptable=stats.tango_not_worse_p(a_counts, b_counts, counts, cheaper),
        b_acceptable=stats.tango_not_worse_p(b_counts, a_counts, counts, cheaper),
        a_only=a_only,
        b_only=b_only,
        squared=squared,
    )


def _discordant(a: Entry, b: Entry) -> tuple[int, int]:
    return int((a.values > b.values).sum()), int((b.values > a.values).sum())


def _add_resampled(
    ordered: Sequence[Entry],
    groups: stats.Groups | None,
    terms: Terms,
    alphas: Sequence[float],
    singles: Sequence[int],
    couples: Sequence[tuple[int, int]],
    intervals: dict[str, ScoreLimits],
    found: dict[tuple[str, str], ScorePair],
) -> None:
    """Add what has to be resampled to `intervals` and `found`."""
    differences = [ordered[i].values - ordered[j].values for i, j in couples]
    columns = np.stack([*differences, *(ordered[i].values for i in singles)], axis=1)
    least = np.array([-1.0] * len(couples) + [0.0] * len(singles))
    data = units(columns, groups)
    all_pairs = len(ordered) * (len(ordered) - 1) // 2
    resamples = resample_count(terms, all_pairs, alphas[-1])
    rng = np.random.default_rng(terms.seed)
    p = sign_flip_p(data.sums[:, : len(couples)], resamples, rng)
    bootstrap = studentise(data, resamples, rng, least=least, most=1.0)
    # What the bootstrap is too bold about: collapses that were not seen, and few or uneven groups.
    second: ErrorModel
    if groups is None:
        second = Gaffke.of(data.sums, resamples, rng, least=least, most=1.0)
    else:
        second = ClusterJackknife.of(data, least=least, most=1.0)
        graded = [not _is_binary_pair(ordered[i], ordered[j]) for i, j in couples]
        graded += [not _is_binary(ordered[i].values) for i in singles]
        if any(graded):
            # Over the rows: one more whole group at the worst bound would leave nothing to be shown
            # with a hundred groups. That rows of a group agree is what the other two reckon with.
            rows = units(columns).sums
            unseen = Gaffke.of(rows, resamples, rng, least=least, most=1.0)
            second = Strictest(second, unseen, np.array(graded))
    p = np.maximum(p, two_sided_p(second)[: len(couples)])
    means = Strictest(bootstrap, second)
    (low, high), (chosen_low, _), (enough, _), (_, most) = map(means.interval, alphas)
    turned, cheaper = means.negated(), terms.margin_for_cheaper or terms.margin
    a_not_worse, b_not_worse = means.above_p(-terms.margin), turned.above_p(-terms.margin)
    a_acceptable, b_acceptable = means.above_p(-cheaper), turned.above_p(-cheaper)
    for column, (i, j) in enumerate(couples):
        a, b = ordered[i], ordered[j]
        a_only, b_only = _discordant(a, b) if _is_binary_pair(a, b) else (None, None)
        found[a.name, b.name] = ScorePair(
            a=a.name,
            b=b.name,
            difference=float(data.means[column]),
            low=float(low[column]),
            high=float(high[column]),
            error=float(bootstrap.error[column]),
            p=float(p[column]),
            a_not_worse=float(a_not_worse[column]),
            b_not_worse=float(b_not_worse[column]),
            a_acceptable=float(a_acceptable[column]),
            b_acceptable=float(b_acceptable[column]),
            a_only=a_only,
            b_only=b_only,
            squared=float((differences[column] ** 2).mean()) if len(a.values) else 0.0,
        )
    for column, i in enumerate(singles, start=len(couples)):
        limits = (float(limit[column]) for limit in (low, high, chosen_low, enough, most))
        intervals[ordered[i].name] = ScoreLimits(*limits)


def _orient(pair: ScorePair, position: dict[str, int]) -> ScorePair:
    """The pair with the candidate that was entered first as a."""
    return pair if position[pair.a] < position[pair.b] else pair.turned()
