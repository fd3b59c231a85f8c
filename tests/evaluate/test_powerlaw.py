"""The learning-curve law: exact on exact curves, and intervals that cover on simulated ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit

from assay.evaluate.powerlaw import (
    EXPONENTS,
    Floats,
    backtest,
    double,
    fit,
    fit_scores,
    predict,
)

SIZES = [50, 100, 200, 400, 800]


def simulated(
    rng: np.random.Generator,
    sizes: list[int],
    law: tuple[float, float, float],
    examples: int,
    resamples: int = 3,
    training_sd: float = 0.02,
) -> list[Floats]:
    """Right/wrong answers of trainings whose true error follows `law`; some examples are harder."""
    c, a, b = law
    population = np.random.default_rng(1).normal(0, 1.5, 2000)
    difficulty = rng.normal(0, 1.5, examples)
    tables = []
    for size in sizes:
        answers = []
        for _ in range(resamples):
            score = 1 - c - a * size**-b + rng.normal(0, training_sd)
            score = float(np.clip(score, 0.001, 0.999))
            skill = brentq(lambda x, want=score: expit(x + population).mean() - want, -40, 40)
            answers.append(rng.random(examples) < expit(skill + difficulty))
        tables.append(np.array(answers, float))
    return tables


@given(
    c=st.floats(0, 0.4),
    a=st.floats(0.5, 5),
    b=st.sampled_from([float(b) for b in EXPONENTS if 0.2 <= b <= 1.5]),
)
@settings(max_examples=50, deadline=None)
def test_an_exact_curve_is_found(c: float, a: float, b: float) -> None:
    errors = [c + a * n**-b for n in SIZES]
    law = fit(SIZES, errors, [1e-12] * len(SIZES))
    assert law.b == pytest.approx(b)
    assert law.score(1600) == pytest.approx(1 - c - a * 1600**-b, abs=1e-6)


@given(
    errors=st.lists(st.floats(0, 1), min_size=5, max_size=5),
    variance=st.floats(1e-6, 0.1),
)
@settings(max_examples=100, deadline=None)
def test_every_fit_keeps_its_bounds_and_never_rises(errors: list[float], variance: float) -> None:
    law = fit(SIZES, errors, [variance] * 5)
    assert 0 <= law.c <= 1
    assert law.a >= 0
    assert EXPONENTS[0] <= law.b <= EXPONENTS[-1]
    assert law.score(1600) >= law.score(800) >= law.score(50)


def test_no_point_of_the_box_fits_better() -> None:
    rng = np.random.default_rng(3)
    errors = rng.random(5)
    law = fit(SIZES, errors.tolist(), [1e-4] * 5)

    def cost(c: float, a: float) -> float:
        return float(((errors - c - a * np.array(SIZES, float) ** -law.b) ** 2).sum())

    best = cost(law.c, law.a)
    for _ in range(2000):
        assert cost(rng.random(), law.a * 2 * rng.random() + 0.1 * rng.random()) >= best - 1e-12


def test_weights_count() -> None:
    errors = [0.5, 0.4, 0.3, 0.2, 0.9]
    trusting = fit(SIZES, errors, [1e-4, 1e-4, 1e-4, 1e-4, 1e-8])
    doubting = fit(SIZES, errors, [1e-6, 1e-6, 1e-6, 1e-6, 10.0])
    assert abs(1 - doubting.score(400) - 0.2) < 0.03
    assert abs(1 - trusting.score(800) - 0.9) < 0.01


def test_a_curve_that_gets_worse_is_called_flat() -> None:
    law = fit(SIZES, [0.2, 0.25, 0.3, 0.35, 0.4], [1e-4] * 5)
    assert law.flat
    assert law.score(1600) == law.score(50)


def test_a_flat_curve_promises_nothing() -> None:
    rng = np.random.default_rng(0)
    what = double(SIZES, simulated(rng, SIZES, (0.3, 0.0, 0.5), 300), draws=300)
    assert what.gain_low <= 0.005
    assert what.gain < 0.02
    assert what.now.low < 0.7 < what.now.high


def test_a_falling_curve_promises_a_gain() -> None:
    rng = np.random.default_rng(0)
    what = double(SIZES, simulated(rng, SIZES, (0.1, 3.0, 0.5), 400), draws=300)
    assert 0 < what.gain_low <= what.gain <= what.gain_high
    assert what.then.size == 1600
    assert what.gain_low < 3 * (800**-0.5 - 1600**-0.5) < what.gain_high


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = simulated(np.random.default_rng(2), SIZES, (0.1, 3.0, 0.5), 100)
    one = predict(SIZES, scores, 1600, draws=200, seed=4)
    assert one == predict(SIZES, scores, 1600, draws=200, seed=4)
    assert one != predict(SIZES, scores, 1600, draws=200, seed=5)


def test_more_examples_narrow_the_interval() -> None:
    widths = []
    for examples in (60, 1500):
        rng = np.random.default_rng(7)
        found = predict(SIZES, simulated(rng, SIZES, (0.1, 3.0, 0.5), examples), 1600, draws=300)
        widths.append(found.high - found.low)
    assert widths[1] < 0.7 * widths[0]


def test_noisy_trainings_widen_the_interval() -> None:
    widths = []
    for sd in (0.0, 0.06):
        rng = np.random.default_rng(7)
        scores = simulated(rng, SIZES, (0.1, 3.0, 0.5), 800, training_sd=sd)
        found = predict(SIZES, scores, 1600, draws=300)
        widths.append(found.high - found.low)
    assert widths[1] > 1.3 * widths[0]


def test_one_resample_at_the_full_size_is_enough() -> None:
    scores = simulated(np.random.default_rng(2), SIZES, (0.1, 3.0, 0.5), 100)
    scores[-1] = scores[-1][:1]
    found = predict(SIZES, scores, 1600, draws=200)
    assert found.low < found.score < found.high


def test_scores_between_0_and_1_need_not_be_binary() -> None:
    rng = np.random.default_rng(0)
    scores = [np.clip(rng.normal(1 - 2 * n**-0.5, 0.1, (3, 50)), 0, 1) for n in SIZES]
    assert fit_scores(SIZES, scores).score(1600) > fit_scores(SIZES, scores).score(100)


@pytest.mark.parametrize(
    ("sizes", "scores", "message"),
    [
        ([10, 20], [np.ones((1, 4))] * 2, "needs 3 sizes"),
        ([20, 10, 30], [np.ones((1, 4))] * 3, "ascending"),
        ([10, 20, 30], [np.ones((1, 4)), np.ones((1, 5)), np.ones((1, 4))], "same validation"),
        ([10, 20, 30], [np.ones((1, 4)), np.full((1, 4), 1.5), np.ones((1, 4))], "between 0 and 1"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    sizes: list[int], scores: list[Floats], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predict(sizes, scores, 100)


@pytest.mark.parametrize("law", [(0.1, 3.0, 0.5), (0.2, 1.2, 0.3), (0.3, 0.0, 0.5)])
def test_intervals_cover(law: tuple[float, float, float]) -> None:
    """40 simulated curves for each law: at 95 %, 5 misses have a chance of 1 in 70."""
    _coverage(law, runs=40, allowed=5)


@pytest.mark.soak
@pytest.mark.parametrize(
    "law", [(0.1, 3.0, 0.5), (0.2, 1.2, 0.3), (0.02, 20.0, 0.9), (0.3, 0.0, 0.5), (0.0, 1.5, 0.2)]
)
def test_intervals_cover_in_many_runs(law: tuple[float, float, float]) -> None:
    """At least 91 %: 95 % less two standard errors of 300 runs and what a wrong prior costs."""
    _coverage(law, runs=300, allowed=27)


def _coverage(law: tuple[float, float, float], runs: int, allowed: int) -> None:
    c, a, b = law
    expected = 1 - c - a * 1600.0**-b
    gain = a * 800.0**-b - a * 1600.0**-b
    missed = {"score": 0, "gain": 0, "backtest": 0}
    for run in range(runs):
        scores = simulated(np.random.default_rng([run, 11]), SIZES, law, 150)
        what = double(SIZES, scores, draws=300)
        missed["score"] += not what.then.low <= expected <= what.then.high
        missed["gain"] += not what.gain_low <= gain <= what.gain_high
        missed["backtest"] += not backtest(SIZES, scores, draws=300).covered
    assert max(missed.values()) <= allowed, missed


def test_a_backtest_can_fail() -> None:
    """A curve that falls by a law up to n/2 and then collapses is not foreseen."""
    scores = simulated(np.random.default_rng(0), SIZES, (0.1, 3.0, 0.5), 200)
    assert backtest(SIZES, scores, draws=300).covered
    scores[-1] = np.zeros_like(scores[-1])
    found = backtest(SIZES, scores, draws=300)
    assert not found.covered
    assert found.observed == 0.0
