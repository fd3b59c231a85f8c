"""Closed-form statistics: against published values, statsmodels, and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from assay.evaluate import stats
from assay.evaluate.bounds import Gaffke

counts = st.integers(0, 400)


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    """(only a right, only b right, n) with n at least 1."""
    a_only, b_only, same = draw(counts), draw(counts), draw(counts)
    return a_only, b_only, max(a_only + b_only + same, 1)


@given(n=st.integers(1, 5000), share=st.floats(0, 1), alpha=st.sampled_from([0.01, 0.05, 0.1]))
def test_wilson_agrees_with_statsmodels(n: int, share: float, alpha: float) -> None:
    successes = round(share * n)
    expected = proportion_confint(successes, n, alpha=alpha, method="wilson")
    assert stats.wilson(successes, n, alpha) == pytest.approx(expected, abs=1e-12)


def test_wilson_without_examples_knows_nothing() -> None:
    assert stats.wilson(0, 0) == (0.0, 1.0)


@given(events=st.integers(0, 300), more=st.integers(0, 300), alpha=st.floats(0.001, 0.2))
def test_clopper_pearson_agrees_with_statsmodels(events: int, more: int, alpha: float) -> None:
    n = events + more
    if n == 0:
        return
    expected = proportion_confint(events, n, alpha=2 * alpha, method="beta")[1]
    assert float(stats.clopper_pearson_upper(events, n, alpha)) == pytest.approx(expected, abs=1e-9)


@given(a_only=counts, b_only=counts)
def test_mcnemar_agrees_with_statsmodels_and_turns_with_its_sides(a_only: int, b_only: int) -> None:
    p = stats.mcnemar(a_only, b_only)
    if a_only + b_only:
        expected = statsmodels_mcnemar([[0, a_only], [b_only, 0]], exact=True).pvalue
        assert p == pytest.approx(min(1.0, expected), rel=1e-9)
    assert stats.mcnemar(b_only, a_only) == p
    assert 0 < p <= 1


@given(a_only=counts, b_only=counts)
def test_one_sided_mcnemar_agrees_with_scipy(a_only: int, b_only: int) -> None:
    if a_only + b_only == 0:
        assert stats.mcnemar(0, 0, "greater") == 1.0
        return
    for side in ("greater", "less"):
        expected = scipy_stats.binomtest(a_only, a_only + b_only, alternative=side).pvalue
        assert stats.mcnemar(a_only, b_only, side) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("a_only", "b_only", "n", "alpha", "low", "high", "digits"),
    [
        # Airway reactivity (Bentur 2009) and complete response (Cavo 2012), the worked examples of
        # Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33:2850-2875.
        (1, 7, 21, 0.05, -0.517, -0.026, 3),
        (6, 16, 161, 0.05, -0.1240, -0.0054, 4),
        # R, PropCIs::scoreci.mp(x, y, n), which is the interval of (y − x) / n.
        (28, 25, 618, 0.10, -0.0148, 0.0247, 4),
        (20, 60, 1000, 0.05, -0.0584, -0.0231, 4),
    ],
)
def test_tango_gives_the_published_intervals(
    a_only: int, b_only: int, n: int, alpha: float, low: float, high: float, digits: int
) -> None:
    found = stats.tango_interval(a_only, b_only, n, alpha)
    assert tuple(round(limit, digits) for limit in found) == (low, high)


@given(table=tables(), difference=st.floats(-0.95, 0.95))
def test_tango_statistic_agrees_with_a_numerical_maximum_of_the_likelihood(
    table: tuple[int, int, int], difference: float
) -> None:
    a_only, b_only, n = table

    def minus_log_likelihood(only_b: float) -> float:
        cells = ((a_only, only_b + difference), (b_only, only_b))
        rest = 1 - 2 * only_b - difference
        total = -(n - a_only - b_only) * math.log(max(rest, 1e-300))
        return total - sum(count * math.log(max(p, 1e-300)) for count, p in cells)

    low, high = max(0.0, -difference), (1 - difference) / 2
    found = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    variance = n * (2 * found.x + difference - difference**2)
    gap = a_only - b_only - n * difference
    if variance > 1e-4 * n:
        expected = gap / math.sqrt(variance)
        assert stats.tango_z(a_only, b_only, n, difference) == pytest.approx(
            expected, rel=2e-3, abs=2e-3
        )


@given(table=tables(), alpha=st.sampled_from([0.01, 0.05, 0.2]))
def test_tango_interval_contains_the_estimate_and_turns_with_its_sides(
    table: tuple[int, int, int], alpha: float
) -> None:
    a_only, b_only, n = table
    low, high = stats.tango_interval(a_only, b_only, n, alpha)
    assert -1 <= low <= (a_only - b_only) / n <= high <= 1
    assert stats.tango_interval(b_only, a_only, n, alpha) == pytest.approx((-high, -low), abs=1e-9)


@given(table=tables(), margin=st.sampled_from([0.01, 0.02, 0.1]))
def test_not_worse_agrees_with_the_interval(table: tuple[int, int, int], margin: float) -> None:
    a_only, b_only, n = table
    low, _ = stats.tango_interval(a_only, b_only, n, alpha=0.06)
    p = stats.tango_not_worse_p(a_only, b_only, n, margin)
    assert 0 <= p <= 1
    if abs(low + margin) > 1e-9:
        assert (p < 0.03) == (low > -margin)


def test_all_openings_together_spend_alpha() -> None:
    spent = [stats.opening_alpha(0.05, j) for j in range(1, 200_000)]
    assert sum(spent) == pytest.approx(0.05, abs=1e-6)
    assert sum(spent) < 0.05
    assert spent[0] == pytest.approx(0.0304, abs=5e-5)


def test_intraclass_correlation_recovers_the_truth() -> None:
    rng = np.random.default_rng(0)
    member = np.repeat(np.arange(2000), 5)
    values = 0.6 * rng.standard_normal(2000)[member] + 0.8 * rng.standard_normal(len(member))
    groups = [str(i) for i in member]
    assert stats.intraclass_correlation(values, groups) == pytest.approx(0.36, abs=0.03)
    rng.shuffle(values)
    assert stats.intraclass_correlation(values, groups) < 0.03
    assert stats.intraclass_correlation([1.0, 1.0, 1.0], ["a", "a", "b"]) == 0.0
    assert stats.intraclass_correlation([1.0, 0.0], ["a", "b"]) == 0.0


def test_design_effect_of_groups() -> None:
    assert stats.design_effect([]) == 1.0
    assert stats.design_effect([1, 1, 1], 0.5) == 1.0
    assert stats.design_effect([5] * 10, 0.25) == pytest.approx(2.0)
    assert stats.design_effect([1, 9], 0.25) > stats.design_effect([5, 5], 0.25)


@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_the_minimum_detectable_effect_is_shown_eight_times_in_ten(margin: float) -> None:
    n, level, discordance = 1000, 0.02, 0.3
    effect = stats.minimum_detectable_effect(n, level, margin=margin, discordance=discordance)
    chances = [(discordance + effect) / 2, (discordance - effect) / 2]
    draws = np.random.default_rng(0).multinomial(n, [*chances, 1 - discordance], size=1500)
    shown = np.mean([stats.tango_not_worse_p(a, b, n, margin) <= level for a, b, _ in draws])
    assert 0.75 < shown < 0.86


def test_collapses_that_were_not_seen_are_allowed_for_in_effect_and_size() -> None:
    """Gaffke's bound asks for more than a normal mean does: its limit is simulated here."""
    n, level, spread, margin = 60, 0.02, 0.1, 0.02
    known = {"margin": margin, "discordance": spread**2}
    effect = stats.minimum_detectable_effect(n, level, **known, unseen=True)
    assert effect > stats.minimum_detectable_effect(n, level, **known) + 0.015
    assert stats.examples_needed([effect + margin], [level], [spread**2], [True]) in (n, n + 1)
    assert stats.examples_needed([1e-6], [level], [spread**2], [True]) > 1e9
    rng = np.random.default_rng(0)
    values = effect + spread * rng.standard_normal((n, 400))
    bound = Gaffke.of(values, 2000, rng, least=-1.0, most=1.0)
    assert 0.75 < (bound.above_p(-margin) <= level).mean() < 0.86


def test_what_a_training_gains_is_doubted_by_as_much_as_trainings_differ() -> None:
    assert stats.training_p(0.02, 0.01, 0.0, 3) == pytest.approx(special.ndtr(-2))
    student = special.stdtr(2, -2)
    assert stats.training_p(0.02, 0.0, 0.01, 3) == pytest.approx(student)
    both = stats.training_p(0.02, 0.01, 0.01, 3)
    assert both > stats.training_p(0.02, 0.01, 0.005, 3) > stats.training_p(0.02, 0.01, 0.0, 3)
    assert both == special.stdtr(8, -(2**0.5))
    assert (stats.training_p(0.0, 0.0, 0.0, 3), stats.training_p(0.1, 0.0, 0.0, 3)) == (1.0, 0.0)


def test_the_spread_of_trainings_is_told_from_what_the_examples_put_into_it() -> None:
    """Of 2000 sets of three trainings the mean estimated variance is the true one, not cut at 0."""
    rng = np.random.default_rng(0)
    n, true = 200, 0.05
    found = []
    for _ in range(2000):
        level = 0.7 + true * rng.standard_normal((3, 1))
        scores = level + 0.3 * rng.standard_normal((1, n)) + 0.3 * rng.standard_normal((3, n))
        found.append(stats.training_spread(scores) ** 2)
    assert np.mean(found) == pytest.approx(true**2, rel=0.1)
    assert stats.training_spread(np.tile([0.0, 1.0, 1.0], (3, 1))) == 0.0
    with pytest.raises(ValueError, match="not 1 and 3"):
        stats.training_spread(np.ones((1, 3)))


def test_effect_and_size_follow_what_they_should() -> None:
    def effect(n: int, margin: float = 0.0, **known: float) -> float:
        return stats.minimum_detectable_effect(n, 0.03, margin=margin, **known)

    assert effect(0) == 1.0
    assert effect(100) == effect(100, discordance=0.3)
    assert effect(400) == pytest.approx(effect(100) / 2)
    assert effect(400, 0.02) == pytest.approx(effect(400) - 0.02)
    assert effect(100_000, 0.02) == 0.0
    assert effect(400, design_effect=4) == pytest.approx(effect(100))
    size = stats.examples_needed([effect(400, 0.02) + 0.02], [0.03], [0.3])
    assert size in (400, 401), "one formula, solved for the lead and for the size"


def test_examples_needed_suffice_eight_times_in_ten() -> None:
    margin, level, discordance = 0.05, 0.01, 0.2
    n = stats.examples_needed([margin], [level], [discordance])
    half = discordance / 2
    draws = np.random.default_rng(0).multinomial(n, [half, half, 1 - discordance], size=1500)
    shown = np.mean([stats.tango_not_worse_p(a, b, n, margin) <= level for a, b, _ in draws])
    assert 0.75 < shown < 0.86


def test_several_effects_are_all_shown_eight_times_in_ten() -> None:
    """One that is easily shown costs nothing; two that are alike have half of the chance each."""
    one = stats.examples_needed([0.05], [0.01], [0.2])
    assert stats.examples_needed([0.05, 0.5], [0.01, 0.01], [0.2, 0.2]) == one
    twice = stats.examples_needed([0.05, 0.05], [0.01, 0.01], [0.2, 0.2])
    misses = special.ndtr(stats._z(0.01) - 0.05 * (twice / 0.2) ** 0.5)
    assert one < twice
    assert 2 * misses == pytest.approx(1 - stats.POWER, abs=0.001)
    assert stats.examples_needed([], [], []) == 0
