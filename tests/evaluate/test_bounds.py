"""Bounds for what a bootstrap is too bold about, against exact ones and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from assay.evaluate.bounds import (
    ClusterJackknife,
    Gaffke,
    Strictest,
    effective_groups,
    two_sided_p,
)
from assay.evaluate.resampling import studentise, units


def gaffke(values: np.ndarray, resamples: int = 4000, seed: int = 0, least: float = 0.0) -> Gaffke:
    rng = np.random.default_rng(seed)
    return Gaffke.of(values[:, None], resamples, rng, least=least, most=1.0)


@pytest.mark.parametrize(("events", "n"), [(0, 20), (3, 20), (57, 60), (60, 60), (40, 100)])
def test_of_zeros_and_ones_it_is_clopper_and_pearson(events: int, n: int) -> None:
    bound = gaffke(np.repeat([1.0, 0.0], [events, n - events]), 40_000)
    low, high = bound.interval(0.05)
    exact = stats.binomtest(events, n).proportion_ci(0.95, method="exact")
    assert low[0] == pytest.approx(exact.low, abs=0.004)
    assert high[0] == pytest.approx(exact.high, abs=0.004)
    p = stats.binomtest(events, n, 0.6, alternative="greater").pvalue
    assert bound.above_p(0.6)[0] == pytest.approx(p, abs=0.012)


def test_a_collapse_that_was_not_seen_is_reckoned_with() -> None:
    """Truly 2.2 points worse by 2.6 % of answers at 0, of which 60 rows show none in one of five
    samples: the bootstrap then clears it, the bound does not."""
    rng = np.random.default_rng(1)
    bold = careful = 0
    for run in range(200):
        jitter = rng.normal(0, 0.01, 60)
        difference = np.where(rng.random(60) < 0.022 / 0.85, -0.85, 0.0) + jitter
        bootstrap = studentise(units(difference[:, None]), 400, rng, least=-1.0, most=1.0)
        bound = gaffke(difference, 400, run, least=-1.0)
        strict = Strictest(bootstrap, bound)
        bold += bool(bootstrap.above_p(-0.02)[0] <= 0.03)
        careful += bool(strict.above_p(-0.02)[0] <= 0.03)
        assert strict.interval(0.05)[0][0] == min(
            bootstrap.interval(0.05)[0][0], bound.interval(0.05)[0][0]
        )
    assert bold > 20
    assert careful <= 2


def test_turned_around_it_says_the_same() -> None:
    values = np.random.default_rng(2).uniform(-0.3, 0.9, 40)
    bound, turned = gaffke(values, least=-1.0), gaffke(values, least=-1.0).negated()
    low, high = bound.interval(0.1)
    assert (turned.interval(0.1)[0][0], turned.interval(0.1)[1][0]) == (-high[0], -low[0])
    assert two_sided_p(bound) == pytest.approx(two_sided_p(turned))
    assert 0 < two_sided_p(bound)[0] < 0.05
    assert two_sided_p(gaffke(np.zeros(40), least=-1.0))[0] == 1.0


def test_with_equal_groups_the_jackknife_is_students_t() -> None:
    rng = np.random.default_rng(3)
    means = rng.normal(0.1, 0.3, 12)
    data = units(np.repeat(means, 5)[:, None], np.repeat(np.arange(12), 5))
    model = ClusterJackknife.of(data, least=-1.0, most=1.0)
    exact = stats.ttest_1samp(means, -0.02, alternative="greater")
    assert model.above_p(-0.02)[0] == pytest.approx(exact.pvalue)
    ends = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    low, high = model.interval(0.05)
    assert (low[0], high[0]) == pytest.approx((ends.low, ends.high))
    assert two_sided_p(model)[0] == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert two_sided_p(model.negated()) == pytest.approx(two_sided_p(model))


def test_groups_of_unlike_size_count_for_fewer() -> None:
    assert effective_groups(["a", "b", "c", "d"]) == 4.0
    assert effective_groups(np.repeat(np.arange(10), 7)) == pytest.approx(10.0)
    assert effective_groups(["a"] * 50 + ["b", "c"]) < 1.1
    assert effective_groups([]) == 0.0


def test_one_large_group_does_not_pass_for_many() -> None:
    """At the margin, a fifth of the examples in one of twenty groups: the level is kept."""
    rng = np.random.default_rng(4)
    sizes = np.array([95, *[20] * 19])
    member = np.repeat(np.arange(20), sizes)
    passed, runs = 0, 1500
    for _ in range(runs):
        values = rng.normal(-0.02, 0.1, 20)[member]
        data = units(values[:, None], member)
        model = ClusterJackknife.of(data, least=-1.0, most=1.0)
        passed += bool(model.above_p(-0.02)[0] <= 0.03)
    assert passed <= runs * (0.03 + 3.1 * (0.03 * 0.97 / runs) ** 0.5)


def test_without_spread_or_with_one_group_nothing_breaks() -> None:
    for groups in (None, ["a"] * 12):
        data = units(np.full((12, 1), 0.5), groups)
        model = ClusterJackknife.of(data, least=-1.0, most=1.0)
        assert model.above_p(0.4)[0] == 0.0
        assert model.above_p(0.5)[0] == 0.5
        assert model.above_p(0.6)[0] == 1.0
        assert model.interval(0.05) == (0.5, 0.5)
