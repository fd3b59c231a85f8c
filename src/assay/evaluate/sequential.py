"""Looking again and again at a growing sample without fooling oneself. Pure.

A test that is valid at one sample size gives false alarms when it is looked at after every
label. The ones here may be looked at any time and stopped at will: they bet against "the mean is
at least m" with a fair game, and the chance that the stake ever grows by 1/alpha is at most alpha
(Ville 1939). Bets and confidence sequences follow Waudby-Smith and Ramdas 2024, "Estimating means
of bounded random variables by betting", Journal of the Royal Statistical Society B 86:1-27
(arXiv:2010.09686), section 4: predictable plug-in bets, each test on one side.

Scores are between 0 and 1 and come in a random order; nothing else is assumed of them. Whether a
mean lies above a value is asked of 1 − scores.

What a mean is held against may itself be measured. Then two independent things speak for "the mean
is lower than that one": how unlikely so high an estimate is, and the bet, whose highest stake has
1/stake as a p-value at any time. Fisher's product joins the two (Fisher 1932, Statistical Methods
for Research Workers, section 21.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike

from assay.evaluate.stats import Z_95, Floats

BOLDEST = 0.5
"""Share of the stake that a bet can lose at most (the c of the paper)."""
POWER = 0.8
"""Chance with which the stated number of labels suffices."""
MOST_LABELS = 10_000
"""More labels than this are never asked for; it stands for "more than can be had"."""
_POWER_Z = 0.8416  # the quantile of the normal distribution for a power of 0.8
_LEAST_VARIANCE = 1e-4
_GRID = 2000
_ERRORS = np.linspace(-3, 4, 29)  # standard errors by which an estimate may be too high

Bounds = Sequence[tuple[float, float]]
"""Values, each with the log of the stake against it that is enough."""


def bets(scores: ArrayLike, alpha: float) -> Floats:
    """Predictable plug-in bets before they are cut to size: each depends on earlier scores only.

    sqrt(2 log(1/alpha) / (variance so far · t · log(1 + t))), the paper's equation 26 for one
    side.

    Args:
        scores: [..., labels]

    Returns:
        [..., labels]
    """
    x = np.asarray(scores, dtype=float)
    t = np.arange(1, x.shape[-1] + 1)
    means = (0.5 + np.cumsum(x, axis=-1)) / (t + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2, axis=-1)) / (t + 1)
    before = np.concatenate([np.full((*x.shape[:-1], 1), 0.25), variances[..., :-1]], axis=-1)
    bet: Floats = np.sqrt(2 * math.log(1 / alpha) / (before * t * np.log(1 + t)))
    return bet


def stake_below(scores: ArrayLike, m: float, alpha: float) -> Floats:
    """Log of the stake after each label, of one who bets that the mean lies below `m`.

    While the mean is `m` or more the chance that it ever reaches log(1/alpha) is at most alpha.

    Args:
        scores: [..., labels], 0 to 1.
        alpha: the level that the bets are laid out for.

    Returns:
        [..., labels]
    """
    x = np.asarray(scores, dtype=float)
    boldest = BOLDEST / (1 - m) if m < 1 else math.inf
    bet = np.minimum(bets(x, alpha), boldest)
    stake: Floats = np.cumsum(np.log1p(bet * (m - x)), axis=-1)
    return stake


def bounds_below(
    estimate: float, low: float, high: float, alpha: float, *, chosen_among: int = 1
) -> Bounds:
    """What shows, at level `alpha`, that a mean lies below another one that was estimated.

    For each value that the other one may have: the log of the stake against it that is enough,
    beside the chance of so high an estimate. The mean is shown to be lower once all these stakes
    have been reached, each at some time.

    Args:
        low, high: the 95 % interval of the estimate; equal where it is not in doubt.
        chosen_among: of so many estimates it is the highest; chances add up.
    """
    if low == high:
        return [(estimate, math.log(1 / alpha))]
    error = np.where(_ERRORS > 0, estimate - low, high - estimate) / Z_95
    values = np.clip(estimate - _ERRORS * error, 0, 1)
    chance = np.minimum(1, chosen_among * scipy.stats.norm.sf(_ERRORS))
    goals = np.log(chance) + scipy.stats.chi2.isf(alpha, 4) / 2
    return [(float(m), float(goal)) for m, goal in zip(values, goals, strict=True) if goal > 0]


def is_below(scores: ArrayLike, bounds: Bounds, alpha: float) -> bool:
    """Whether the mean is shown to lie below what `bounds` are of; once shown, it stays so."""
    x = np.asarray(scores, dtype=float)
    return bool(x.size) and all(stake_below(x, m, alpha).max() >= goal for m, goal in bounds)


def confidence_sequence(scores: Sequence[float], alpha: float) -> tuple[float, float]:
    """An interval that covers the mean at all times at once, with a chance of 1 − alpha.

    Every mean that neither side has been shown to be away from, each at alpha/2; (0, 1) before
    the first label. Rounded outwards to 1/2000.
    """
    if not len(scores):
        return 0.0, 1.0
    low = 1 - _largest_not_excluded(1 - np.asarray(scores, dtype=float), alpha / 2)
    high = _largest_not_excluded(np.asarray(scores, dtype=float), alpha / 2)
    return (low, high) if low <= high else (high, low)


def _largest_not_excluded(scores: Floats, alpha: float) -> float:
    """The smallest point of the grid above which every mean is shown to be too large."""
    low, high = 0, _GRID
    while low < high:  # the larger m is, the surer it is excluded
        middle = (low + high + 1) // 2
        m = middle / _GRID
        if is_below(scores, bounds_below(m, m, m, alpha), alpha):
            high = middle - 1
        else:
            low = middle
    return min(low + 1, _GRID) / _GRID


def labels_needed(
    scores: ArrayLike,
    bounds: Bounds,
    mean: float,
    variance: float,
    alpha: float,
    *,
    error: float = 0.0,
) -> int:
    """Further labels that show with a power of 0.8 that the mean lies below what `bounds` are of.

    Scores are taken to be one of two values, which give them their mean and variance (for binary
    scores these are 0 and 1); growth of the log of the stake, label by label, then has a known
    mean and variance, and its sum over labels is taken to be normal.

    Args:
        scores: of the labels so far.
        mean: what the mean is taken to be, with the standard `error` that this has.
        variance: of one score; at most mean · (1 − mean), which binary scores have.

    Returns:
        at most `MOST_LABELS`, which stands for "more than can be had".
    """
    seen = np.asarray(scores, dtype=float)
    most = mean * (1 - mean)
    width = min(1.0, math.sqrt(variance / most)) if most > 0 else 0.0
    bad, good = mean - width * mean, mean + width * (1 - mean)
    t = seen.size + np.arange(1, MOST_LABELS + 1)
    plain = np.sqrt(
        2 * math.log(1 / alpha) / (max(width**2 * most, _LEAST_VARIANCE) * t * np.log(1 + t))
    )
    needed = 0
    for m, goal in bounds:
        stakes = stake_below(seen, m, alpha)
        if seen.size and stakes.max() >= goal:
            continue
        if mean >= m:
            return MOST_LABELS
        bet = np.minimum(plain, BOLDEST / (1 - m)) if m < 1 else plain
        if_bad, if_good = np.log1p(bet * (m - bad)), np.log1p(bet * (m - good))
        growth = np.cumsum((1 - mean) * if_bad + mean * if_good)
        noise = np.cumsum(most * (if_bad - if_good) ** 2)
        doubt = error * np.cumsum(bet / (1 + bet * (m - mean)))
        start = stakes[-1] if seen.size else 0.0
        reached = start + growth - _POWER_Z * np.sqrt(noise + doubt**2) >= goal
        if not reached.any():
            return MOST_LABELS
        needed = max(needed, int(np.argmax(reached)) + 1)
    return needed
