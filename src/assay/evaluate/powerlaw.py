"""Learning curves: what more data would bring. Pure functions of scores, no files, no clock.

The error of a model trained on n rows is taken to fall as an inverse power law,

    error(n) = c + a * n^(-b),    c in [0, 1], a >= 0, b in [0.05, 2]

(Hestness et al. 2017, arXiv:1712.00409; Rosenfeld et al. 2020, arXiv:1909.12673). Given b the law
is linear in c and a, so that the weighted least-squares fit is exact for every b of a grid
(variable projection, Golub and Pereyra 1973): nothing has to converge and nothing can fail to. A
weak prior on b, log-normal around 0.4, decides where a handful of noisy sizes would leave it open.
A curve that does not fall fits best with a = 0: it is called flat, and more data is predicted to
bring nothing.

Intervals come from drawing the resamples (which rows were trained on), the validation examples and
the prior's centre anew, and fitting again (randomised maximum a posteriori: what neither data nor
prior settle shows as width). Scores are arrays [resample, example] for each size; the examples
are the same, in the same order, for all sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXPONENTS: Floats = np.geomspace(0.05, 2.0, 48)
USUAL_EXPONENT = 0.4
SIZES, LEAST = 5, 8
"""Sizes that a learning curve is measured at, each twice the one before; rows of the smallest."""
FEWEST_ROWS = LEAST * 2 ** (SIZES - 1)
"""Training rows that a learning curve takes."""
FEWEST_SIZES = 3
_SPREAD = 1.0  # standard deviation of ln b around ln USUAL_EXPONENT
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """error(n) = c + a * n^(-b)."""

    c: float
    a: float
    b: float

    def score(self, size: float) -> float:
        """1 - error, the expected score after training on `size` rows."""
        return float(1.0 - self.c - self.a * float(size) ** -self.b)

    @property
    def flat(self) -> bool:
        """Whether the scores showed no gain from more rows."""
        return self.a == 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """The score to expect of one training on `size` rows, with its interval."""

    size: int
    score: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Doubling:
    """What twice as many rows would bring.

    Attributes:
        now: at the largest size measured (the fit's value there).
        then: at twice that size.
        gain, gain_low, gain_high: then - now; validation examples that are hard at every size
            cancel, so that the gain is known better than either score.
        law: the fit.
    """

    now: Prediction
    then: Prediction
    gain: float
    gain_low: float
    gain_high: float
    law: PowerLaw


@dataclass(frozen=True, slots=True)
class Backtest:
    """Whether a fit to the sizes up to half of the largest foresees the largest."""

    prediction: Prediction
    observed: float
    covered: bool


def fit(sizes: Sequence[int], errors: Sequence[float], variances: Sequence[float]) -> PowerLaw:
    """The power law through mean errors.

    Args:
        sizes: rows trained on, at least 3 different ones, ascending.
        errors: 1 - mean score at each size.
        variances: of the errors; their inverses are the weights.

    Raises:
        ValueError: too few sizes, or arrays that do not belong together.
    """
    if not len(sizes) == len(errors) == len(variances):
        raise ValueError("sizes, errors and variances must be equally long")
    _check_sizes(sizes)
    c, a, b = _fit_many(
        np.asarray(sizes, float),
        np.asarray(errors, float)[None],
        np.asarray(variances, float),
        np.zeros(1),
    )
    return PowerLaw(float(c[0]), float(a[0]), float(b[0]))


def fit_scores(sizes: Sequence[int], scores: Sequence[Floats]) -> PowerLaw:
    """The power law through scores [resample, example] of each size."""
    tables = _tables(sizes, scores)
    errors = [1.0 - float(table.mean()) for table in tables]
    return fit(sizes, errors, _variances(tables).tolist())


def predict(
    sizes: Sequence[int],
    scores: Sequence[Floats],
    at: int,
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Prediction:
    """The score of one training on `at` rows.

    The interval holds what the choice of training rows, the choice of validation examples and the
    extrapolation leave open.

    Args:
        sizes: rows trained on, at least 3 different ones, ascending.
        scores: for each size an array [resample, example] of scores between 0 and 1.
        at: the size to predict, measured or not.

    Raises:
        ValueError: too few sizes, or arrays that do not belong together.
    """
    law = fit_scores(sizes, scores)
    drawn = _draw(sizes, scores, (at,), draws, seed)[:, 0]
    return _prediction(at, law, drawn, level)


def double(
    sizes: Sequence[int],
    scores: Sequence[Floats],
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Doubling:
    """What doubling the largest size would bring. Arguments and errors as `predict`."""
    law = fit_scores(sizes, scores)
    now, then = int(sizes[-1]), 2 * int(sizes[-1])
    drawn = _draw(sizes, scores, (now, then), draws, seed)
    gains = drawn[:, 1] - drawn[:, 0]
    gain = law.score(then) - law.score(now)
    low, high = _quantiles(gains, level)
    return Doubling(
        now=_prediction(now, law, drawn[:, 0], level),
        then=_prediction(then, law, drawn[:, 1], level),
        gain=gain,
        gain_low=min(low, gain),
        gain_high=max(high, gain),
        law=law,
    )


def backtest(
    sizes: Sequence[int],
    scores: Sequence[Floats],
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Backtest:
    """Fit the sizes up to half of the largest, and compare with what was seen at the largest.

    Raises:
        ValueError: fewer than 3 sizes lie at or below half of the largest; else as `predict`.
    """
    kept = [i for i, size in enumerate(sizes) if 2 * size <= sizes[-1]]
    prediction = predict(
        [sizes[i] for i in kept],
        [scores[i] for i in kept],
        int(sizes[-1]),
        level=level,
        draws=draws,
        seed=seed,
    )
    observed = float(np.asarray(scores[-1], float).mean())
    return Backtest(prediction, observed, prediction.low <= observed <= prediction.high)


def _check_sizes(sizes: Sequence[int]) -> None:
    if len(sizes) < FEWEST_SIZES:
        raise ValueError(f"a learning curve needs {FEWEST_SIZES} sizes, not {len(sizes)}")
    if sizes[0] <= 0 or any(b <= a for a, b in pairwise(sizes)):
        raise ValueError(f"sizes must be positive and ascending: {list(sizes)}")


def _tables(sizes: Sequence[int], scores: Sequence[Floats]) -> list[Floats]:
    """The scores as arrays [R, E], checked."""
    _check_sizes(sizes)
    tables = [np.atleast_2d(np.asarray(score, float)) for score in scores]
    if len(tables) != len(sizes) or len({table.shape[1] for table in tables}) != 1:
        raise ValueError("each size needs scores of the same validation examples")
    if any(not np.isfinite(t).all() or t.min() < 0 or t.max() > 1 for t in tables):
        raise ValueError("scores must lie between 0 and 1")
    return tables


def _training_variance(tables: list[Floats]) -> float:
    """Variance of the mean score between trainings on different rows, pooled over sizes."""
    groups = [table.mean(axis=1) for table in tables if len(table) > 1]
    freedom = sum(len(means) - 1 for means in groups)
    if not freedom:
        return 0.0
    return float(sum(((means - means.mean()) ** 2).sum() for means in groups)) / freedom


def _variances(tables: list[Floats]) -> Floats:
    """Variance of each size's mean, as far as it can move one size against another.

    An example that is hard at every size shifts the whole curve and bends it nowhere, so the
    example part is that of the scores less the example's own mean.
    """
    between = _training_variance(tables)
    means = np.stack([table.mean(axis=0) for table in tables])  # [size, example]
    own = means - means.mean(axis=0)
    examples = own.var(axis=1) / means.shape[1]
    resamples = np.array([between / len(table) for table in tables])
    variances: Floats = np.maximum(examples + resamples, _LEAST_VARIANCE)
    return variances


def _draw(
    sizes: Sequence[int], scores: Sequence[Floats], at: Sequence[int], draws: int, seed: int
) -> Floats:
    """Predicted scores [draw, at] of refits to redrawn examples and resamples.

    Resample r of every size stems from one nested series of training sets, so whole series are
    drawn. A mean over R drawn series varies by (R - 1) / R too little; deviations are stretched
    to make up for it. A size with one resample gets the pooled training noise instead.
    """
    tables = _tables(sizes, scores)
    generator = np.random.default_rng(seed)
    examples = tables[0].shape[1]
    shares = generator.multinomial(examples, np.full(examples, 1 / examples), draws) / examples
    most = max(len(table) for table in tables)
    places = generator.random((draws, most))
    noise = _training_variance(tables) ** 0.5
    means = np.empty((draws, len(tables)))
    for column, table in enumerate(tables):
        count = len(table)
        by_series = shares @ table.T  # [draw, resample]
        whole = by_series.mean(axis=1)
        if count == 1:
            means[:, column] = whole + noise * generator.standard_normal(draws)
            continue
        chosen = (places[:, :count] * count).astype(int)
        drawn = np.take_along_axis(by_series, chosen, axis=1).mean(axis=1)
        means[:, column] = whole + (drawn - whole) * (count / (count - 1)) ** 0.5
    centres = _SPREAD * generator.standard_normal(draws)
    c, a, b = _fit_many(np.asarray(sizes, float), 1.0 - means, _variances(tables), centres)
    rows = np.asarray(at, float)
    predicted = 1.0 - c[:, None] - a[:, None] * rows[None] ** -b[:, None]
    noisy: Floats = predicted + noise * generator.standard_normal((draws, 1))
    return noisy


def _fit_many(
    sizes: Floats, errors: Floats, variances: Floats, centres: Floats
) -> tuple[Floats, Floats, Floats]:
    """c, a, b [draw] of the best law for each row of `errors` [draw, size].

    `centres` [draw] moves the centre of the prior on ln b.
    """
    weights = 1.0 / variances
    best = np.full(len(errors), np.inf)
    c, a, b = (np.zeros(len(errors)) for _ in range(3))
    scale = sizes[0]
    for exponent in EXPONENTS:
        basis = (sizes / scale) ** -exponent
        trial_c, trial_a = _linear(basis, errors, weights)
        gaps = errors - trial_c[:, None] - trial_a[:, None] * basis
        prior = ((np.log(exponent / USUAL_EXPONENT) - centres) / _SPREAD) ** 2
        cost = (weights * gaps**2).sum(axis=1) + prior
        better = cost < best
        best[better] = cost[better]
        c[better], a[better] = trial_c[better], trial_a[better] * scale**exponent
        b[better] = exponent
    return c, a, b


def _linear(basis: Floats, errors: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted least squares of errors = c + a * basis with c in [0, 1] and a >= 0.

    A convex quadratic on a box has its minimum inside or on an edge; all are tried.
    """
    sw, sx, sxx = weights.sum(), weights @ basis, weights @ basis**2
    sy, sxy = errors @ weights, errors @ (weights * basis)
    slope = (sw * sxy - sx * sy) / (sw * sxx - sx**2)
    level = (sy - slope * sx) / sw
    inside = (slope >= 0) & (level >= 0) & (level <= 1)
    flat = np.clip(sy / sw, 0.0, 1.0)
    options = [
        (flat, np.zeros_like(flat)),
        (np.zeros_like(flat), np.maximum(sxy / sxx, 0.0)),
        (np.ones_like(flat), np.maximum((sxy - sx) / sxx, 0.0)),
        (np.where(inside, level, flat), np.where(inside, slope, 0.0)),
    ]
    costs = np.stack(
        [((errors - c[:, None] - a[:, None] * basis) ** 2) @ weights for c, a in options]
    )
    chosen = costs.argmin(axis=0)
    c: Floats = np.choose(chosen, [option[0] for option in options])
    a: Floats = np.choose(chosen, [option[1] for option in options])
    return c, a


def _quantiles(drawn: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _prediction(size: int, law: PowerLaw, drawn: Floats, level: float) -> Prediction:
    """The fit's value with the draws' interval, kept within what a score can be."""
    score = min(1.0, max(0.0, law.score(size)))
    low, high = _quantiles(drawn, level)
    return Prediction(size, score, max(0.0, min(low, score)), min(1.0, max(high, score)))
