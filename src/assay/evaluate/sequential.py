"""Looking again and again at a growing sample without fooling oneself. Pure.

A test that is valid at one sample size gives false alarms when it is looked at after every
label. The ones here may be looked at any time and stopped at will: they bet against "the mean is
at least m" with a fair game, and the chance that the stake ever grows by 1/alpha is at most alpha
(Ville 1939). Bets and confidence sequences follow Waudby-Smith and Ramdas 2024, "Estimating means
of bounded random variables by betting", Journal of the Royal Statistical Society B 86:1-27
(arXiv:2010.09686), section 4: predictable plug-in bets, each test on one side.

Scores are between 0 and 1 and come in a random order; nothing else is assumed of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from assay.evaluate.stats import Floats

BOLDEST = 0.5
"""Share of the stake that a bet can lose at most (the c of the paper)."""
POWER = 0.8
"""Chance with which the stated number of labels suffices."""
MOST_LABELS = 100_000
"""More labels than this are never asked for; it stands for "more than can be had"."""
_POWER_Z = 0.8416  # the quantile of the normal distribution for a power of 0.8
_LEAST_VARIANCE = 1e-4
_GRID = 2000


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


def stake_above(scores: ArrayLike, m: float, alpha: float) -> Floats:
    """The same of one who bets that the mean lies above `m`."""
    return stake_below(1 - np.asarray(scores, dtype=float), 1 - m, alpha)


def is_below(scores: Sequence[float], m: float, alpha: float) -> bool:
    """Whether the mean is shown to lie below `m`; once shown, it stays so."""
    return bool(len(scores)) and bool(stake_below(scores, m, alpha).max() >= math.log(1 / alpha))


def is_above(scores: Sequence[float], m: float, alpha: float) -> bool:
    """Whether the mean is shown to lie above `m`; once shown, it stays so."""
    return bool(len(scores)) and bool(stake_above(scores, m, alpha).max() >= math.log(1 / alpha))


def confidence_sequence(scores: Sequence[float], alpha: float) -> tuple[float, float]:
    """An interval that covers the mean at all times at once, with a chance of 1 − alpha.

    Every mean that neither side has been shown to be away from, each at alpha/2; (0, 1) before
    the first label. Rounded outwards to 1/2000.
    """
    if not len(scores):
        return 0.0, 1.0
    low = _least_not_excluded(np.asarray(scores, dtype=float), alpha / 2)
    high = 1 - _least_not_excluded(1 - np.asarray(scores, dtype=float), alpha / 2)
    return (low, high) if low <= high else (high, low)


def _least_not_excluded(scores: Floats, alpha: float) -> float:
    """The largest point of the grid below which every mean is shown to be too small."""
    low, high = 0, _GRID
    while low < high:  # the smaller m is, the surer it is excluded
        middle = (low + high) // 2
        if is_above(scores.tolist(), middle / _GRID, alpha):
            low = middle + 1
        else:
            high = middle
    return max(low - 1, 0) / _GRID


def labels_needed(
    m: float,
    mean: float,
    variance: float,
    alpha: float,
    *,
    stake: float = 0.0,
    seen: int = 0,
) -> int:
    """Further labels that show with a power of 0.8 that the mean lies below `m`.

    Scores are taken to be one of two values, which give them their mean and variance (for binary
    scores these are 0 and 1); growth of the log of the stake, label by label, then has a known
    mean and variance, and its sum over labels is taken to be normal.

    Args:
        mean: what the mean is taken to be, below `m`.
        variance: of one score; at most mean · (1 − mean), which binary scores have.
        stake, seen: log of the stake and number of labels so far.

    Returns:
        at most `MOST_LABELS`, which stands for "more than can be had".
    """
    goal = math.log(1 / alpha)
    if stake >= goal:
        return 0
    if mean >= m:
        return MOST_LABELS
    most = mean * (1 - mean)
    width = min(1.0, math.sqrt(variance / most)) if most > 0 else 0.0
    bad, good = mean - width * mean, mean + width * (1 - mean)
    t = seen + np.arange(1, MOST_LABELS + 1)
    bet = np.sqrt(2 * goal / (max(width**2 * most, _LEAST_VARIANCE) * t * np.log(1 + t)))
    if m < 1:
        bet = np.minimum(bet, BOLDEST / (1 - m))
    if_bad, if_good = np.log1p(bet * (m - bad)), np.log1p(bet * (m - good))
    growth = stake + np.cumsum((1 - mean) * if_bad + mean * if_good)
    noise = np.sqrt(np.cumsum(mean * (1 - mean) * (if_bad - if_good) ** 2))
    reached = growth - _POWER_Z * noise >= goal
    return int(np.argmax(reached)) + 1 if reached.any() else MOST_LABELS
