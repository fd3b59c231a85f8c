"""The formulas of a verdict that have a closed form or a root: pure functions of counts.

What has to be resampled is in `evaluate/resampling.py`; `docs/statistics.md` explains both. No
files, no clock, no random state of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Groups = Sequence[str] | NDArray[np.intp]
"""The group of each example, by name or by number."""
Alternative = Literal["two-sided", "greater", "less"]

Z_95 = 1.96
"""Standard errors between an estimate and an end of its 95 % interval."""
POWER = 0.8
"""Power at which effects and sample sizes are stated."""
UNKNOWN_DISCORDANCE = 0.3
"""Mean squared difference of two candidates' scores that is assumed before any is seen."""
UNKNOWN_INTRACLASS = 0.2
"""Correlation of differences within a group that is assumed before any is seen."""
FEW_TWINS = 1.25
"""Largest `counted_design_effect`."""


def opening_alpha(alpha: float, opening: int) -> float:
    """Level of the `opening`-th opening (from 1) of one holdout: alpha · 6 / (π² j²).

    The levels of all openings there can ever be add up to alpha (Σ 1/j² = π²/6), so that the
    chance of any false call over the life of a holdout stays below alpha.
    """
    return alpha * 6 / (math.pi**2 * opening**2)


def _z(tail: float) -> float:
    """What a standard normal variable exceeds with a chance of `tail`."""
    return -float(scipy.special.ndtri(tail))


def wilson(successes: float, n: float, alpha: float = 0.05) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927, JASA 22:209-212); (0, 1) when n is 0. Counts of
    examples that come in groups are divided by their design effect beforehand."""
    if n == 0:
        return 0.0, 1.0
    z2 = _z(alpha / 2) ** 2
    centre = (successes + z2 / 2) / (n + z2)
    spread = math.sqrt(z2 * (successes * (n - successes) / n + z2 / 4)) / (n + z2)
    low = 0.0 if successes == 0 else centre - spread
    high = 1.0 if successes == n else centre + spread
    return low, high


def clopper_pearson_upper(events: Floats | float, n: float, alpha: float) -> Floats:
    """Exact upper limit, one-sided at `alpha`, of the chance of an event seen `events` times in
    `n` (Clopper and Pearson 1934, Biometrika 26:404-413); 1 where every trial was an event. Counts
    of examples that come in groups are divided by their design effect beforehand."""
    events = np.asarray(events, dtype=float)
    limit = scipy.special.betainccinv(events + 1, np.maximum(n - events, 1), alpha)
    return np.where(events >= n, 1.0, limit)


def mcnemar(a_only: int, b_only: int, alternative: Alternative = "two-sided") -> float:
    """Exact McNemar p of two candidates on the same examples (McNemar 1947, Psychometrika 12).

    Args:
        a_only: examples that only a has right.
        b_only: examples that only b has right.
        alternative: `greater` when a is claimed to be better.
    """
    n = a_only + b_only
    if n == 0:
        return 1.0
    if alternative == "greater":
        return float(scipy.special.bdtrc(a_only - 1, n, 0.5)) if a_only else 1.0
    if alternative == "less":
        return float(scipy.special.bdtr(a_only, n, 0.5))
    return min(1.0, 2 * float(scipy.special.bdtr(min(a_only, b_only), n, 0.5)))


def tango_z(a_only: float, b_only: float, n: float, difference: float) -> float:
    """Score statistic of the hypothesis that a − b is `difference`, for binary scores.

    The variance is taken at the maximum of the likelihood under the hypothesis, which is what
    keeps the test honest when few examples tell the candidates apart (Tango 1998, Statistics in
    Medicine 17:891-908, equations 24 to 26; there the margin has the other sign). Counts of
    examples that come in groups are divided by their design effect beforehand.
    """
    a = 2 * n
    b = -a_only - b_only + (2 * n - a_only + b_only) * difference
    c = -b_only * difference * (1 - difference)
    only_b = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * only_b + difference * (1 - difference))
    gap = a_only - b_only - n * difference
    if variance <= 1e-12 * n:
        return 0.0 if abs(gap) <= 1e-9 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)


def tango_interval(
    a_only: float, b_only: float, n: float, alpha: float = 0.05
) -> tuple[float, float]:
    """Interval of the difference a − b of two paired proportions: every difference that `tango_z`
    does not reject, two-sided at `alpha` (Tango 1998); (-1, 1) when n is 0."""
    if n == 0:
        return -1.0, 1.0
    z = _z(alpha / 2)
    seen = (a_only - b_only) / n
    edge = 1 - 1e-12

    def limit(end: float, target: float) -> float:
        def excess(difference: float) -> float:
            return tango_z(a_only, b_only, n, difference) - target

        if excess(end) * target <= 0:
            return math.copysign(1.0, end)
        return float(scipy.optimize.brentq(excess, seen, end, xtol=1e-12))

    low = -1.0 if seen == -1 else limit(-edge, z)
    high = 1.0 if seen == 1 else limit(edge, -z)
    return low, high


def tango_not_worse_p(a_only: float, b_only: float, n: float, margin: float) -> float:
    """One-sided p of the hypothesis that a is worse than b by `margin` or more (binary scores).

    It is `tango_z` at −margin, so it is below alpha/2 exactly when the lower end of
    `tango_interval(..., alpha)` lies above −margin.
    """
    if n == 0:
        return 1.0
    return float(scipy.special.ndtr(-tango_z(a_only, b_only, n, -margin)))


def intraclass_correlation(values: Sequence[float] | Floats, groups: Groups) -> float:
    """How alike values of one group are, 0 to 1 (one-way ANOVA estimator, Donner 1986,
    International Statistical Review 54:67-82); 0 when no group has two values.

    Args:
        values: one per example, for instance the differences of two candidates on validation.
        groups: the group of each.
    """
    x = np.asarray(values, dtype=float)
    member = group_numbers(groups)
    sizes = np.bincount(member).astype(float)
    n, k = len(x), len(sizes)
    if n == k or k < 2:
        return 0.0
    means = np.bincount(member, weights=x) / sizes
    between = float(sizes @ (means - x.mean()) ** 2) / (k - 1)
    within = float(((x - means[member]) ** 2).sum()) / (n - k)
    typical = (n - float(sizes @ sizes) / n) / (k - 1)
    total = between + (typical - 1) * within
    return float(np.clip((between - within) / total, 0.0, 1.0)) if total > 0 else 0.0


def group_numbers(groups: Groups) -> NDArray[np.intp]:
    """The groups numbered from 0, for each example; the order of the names decides."""
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.intp)


def group_sizes(groups: Groups) -> list[int]:
    """Examples in each group, by the name of the group."""
    return [int(n) for n in np.bincount(group_numbers(groups))]


def design_effect(sizes: Sequence[int], intraclass: float = UNKNOWN_INTRACLASS) -> float:
    """Factor by which groups inflate the variance of a mean: 1 + (Σn²/Σn − 1)·ρ (Kish 1965,
    Survey Sampling, chapter 5, with the size-weighted mean size); 1 without groups."""
    total = sum(sizes)
    return 1.0 if total == 0 else 1 + (sum(n * n for n in sizes) / total - 1) * intraclass


def counted_design_effect(sizes: Sequence[int]) -> float | None:
    """The design effect if rows of a group always agreed, where few rows have another of their
    group (`FEW_TWINS`): scores of 0 and 1 are then counted, every count divided by it. None where
    more do, and whole groups are resampled."""
    effect = design_effect(sizes, 1.0)
    return effect if effect <= FEW_TWINS else None


def training_spread(scores: Floats) -> float:
    """Standard deviation of the true scores of trainings, from their scores [trainings, examples]
    on the same examples: the variance of their means less what the examples put into it (the
    interaction of a two-way layout, Searle, Casella and McCulloch 1992, Variance Components,
    chapter 4), 0 at least."""
    scores = np.asarray(scores, dtype=float)
    trainings, n = scores.shape
    if trainings < 2 or n < 2:
        raise ValueError(f"two trainings and two examples at least, not {trainings} and {n}")
    means = scores.mean(axis=1)
    rest = scores - means[:, None] - scores.mean(axis=0) + means.mean()
    noise = float((rest**2).sum()) / ((trainings - 1) * (n - 1)) / n
    return math.sqrt(max(float(means.var(ddof=1)) - noise, 0.0))


def training_p(gap: float, error: float, spread: float, trainings: int) -> float:
    """One-sided p of the hypothesis that what trainings of a kind gain is 0 or less on average,
    where one of them was measured to gain `gap`.

    A training is a draw, too, beside the examples. Both variances add up; Student's t with the
    degrees of freedom of Satterthwaite (1946, Biometrics Bulletin 2:110-114), as only that of
    trainings is known from few.

    Args:
        error: standard error of `gap` over examples.
        spread: standard deviation of true scores over trainings, known from so many `trainings`,
            two or more (`training_spread`). Where the one measured was chosen as the best of them
            it is on the safe side, for the best of several varies less.
    """
    if error == spread == 0:
        return 0.0 if gap > 0 else 1.0
    variance = error**2 + spread**2
    share = spread**2 / variance
    freedom = (trainings - 1) / share**2 if share > 1e-6 else 1e12
    return float(scipy.special.stdtr(freedom, -gap / math.sqrt(variance)))


def minimum_detectable_effect(
    n: int,
    level: float,
    *,
    margin: float,
    discordance: float | None = None,
    design_effect: float = 1.0,
    unseen: bool = False,
) -> float:
    """Smallest true lead, 0 to 1, with which `n` examples show with a power of 0.8 that a candidate
    is no worse than another by `margin`, one-sided at `level`; with a margin of 0: that it is
    better. 0 where that is shown even of candidates that are equal.

    (z(1 − level) + z(power)) · sqrt(discordance · design effect / n) − margin: `examples_needed`
    solved for the lead (Connor 1987, Biometrics 43:207-211, with the variance not reduced by the
    lead itself, which is on the safe side).

    Args:
        discordance: mean squared difference of scores; for binary scores the share of examples
            that only one of the two has right. 0.3 when not known.
        unseen: Gaffke's bound (`evaluate/bounds.py`) is taken, too: scores other than 0 and 1.
    """
    if n == 0:
        return 1.0
    psi = UNKNOWN_DISCORDANCE if discordance is None else discordance
    error = math.sqrt(psi * design_effect / n)
    return max(0.0, detectable_difference(error, level, 1 / n if unseen else 0.0) - margin)


def detectable_difference(error: float, level: float, unseen: float = 0.0) -> float:
    """Smallest true difference, at most 1, that is shown with a power of 0.8, one-sided at `level`,
    where its standard error is `error`.

    Args:
        unseen: the weight on average of the one value at the worst bound that Gaffke's bound puts
            beside n that were seen, 1/n. Weights of uniform spacings are nearly exponential, so
            that its limit lies below the mean by a quantile of a normal and an exponential
            variable added up; 0 where that bound is not taken.
    """
    return min(1.0, _reach(error, level, unseen) + _z(1 - POWER) * error)


def _reach(error: float, level: float, unseen: float) -> float:
    """What a limit, one-sided at `level`, lies away from a mean with this standard error; see
    `detectable_difference`."""
    if not unseen:
        return _z(level) * error
    if not error:
        return -unseen * math.log(level)
    ratio = error / unseen
    if ratio > 1e3:  # where the sum below loses its digits; the rest is of the order unseen / ratio
        return _z(level) * error + unseen

    def excess(x: float) -> float:
        tail = ratio**2 / 2 - x / unseen + float(scipy.special.log_ndtr(x / error - ratio))
        return float(scipy.special.ndtr(-x / error)) + math.exp(tail) - level

    most = _z(level / 2) * error - unseen * math.log(level / 2)
    return float(scipy.optimize.brentq(excess, _z(level) * error, most, xtol=1e-9))


def examples_needed(
    effects: Sequence[float],
    levels: Sequence[float],
    variances: Sequence[float],
    unseen: Sequence[bool] | None = None,
) -> int:
    """Examples with which every one of several effects is shown, each by a one-sided test at its
    level, with a chance of 0.8 or more that none is missed; 0 without effects.

    Of a single one it is (z(level) + z(power))² · variance / effect² (Tango 1998, section 5; to
    show that a candidate is no worse by a margin, the margin and its true lead are the effect). Of
    several, the fewest examples at which the chances to miss one add up to 0.2 (Bonferroni).

    Args:
        effects: above 0.
        variances: above 0; of the difference on one example, times the design effect of groups.
        unseen: of which Gaffke's bound is taken, too, as in `minimum_detectable_effect`.
    """
    if not effects:
        return 0
    z = np.array([_z(level) for level in levels])
    unseen = [False] * len(z) if unseen is None else unseen
    spreads = np.sqrt(variances)

    def excess(root: float) -> float:
        errors = spreads / root
        reach = z * errors
        for i, level in enumerate(levels):
            if unseen[i]:
                reach[i] = _reach(float(errors[i]), level, root**-2)
        return float(scipy.special.ndtr((reach - effects) / errors).sum()) - (1 - POWER)

    # What a test exceeds its limit by, in standard errors, grows with the root of the examples.
    fewest, most = (
        float(((z + _z((1 - POWER) / parts)) * spreads / effects).max()) for parts in (1, len(z))
    )
    while any(unseen) and excess(most) > 0:
        most *= 2
    if len(z) > 1 or any(unseen):
        fewest = float(scipy.optimize.brentq(excess, 0.999 * fewest, 1.001 * most, xtol=1e-9))
    return math.ceil(fewest**2)
