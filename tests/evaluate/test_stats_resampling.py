"""Sign flips and the studentised bootstrap: against enumeration, scipy, and known truths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from assay.evaluate.resampling import Units, sign_flip_p, studentise, units

scores = st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.8, 1.0])
differences = st.lists(
    st.sampled_from([-1.0, -0.5, -0.2, 0.0, 0.0, 0.3, 1.0]), min_size=1, max_size=10
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(values=differences)
def test_few_differences_are_enumerated(values: list[float]) -> None:
    column = np.array(values)
    seen = abs(column.sum())
    flips = itertools.product((-1, 1), repeat=len(values))
    expected = np.mean([abs(np.dot(signs, column)) >= seen - 1e-9 for signs in flips])
    assert sign_flip_p(column[:, None], 2**10, rng())[0] == pytest.approx(expected)


def test_many_differences_are_sampled_and_agree_with_scipy() -> None:
    column = rng(1).normal(0.15, 1, 80)
    ours = sign_flip_p(column[:, None], 20_000, rng())[0]
    theirs = scipy_stats.permutation_test(
        (column,), np.mean, permutation_type="samples", n_resamples=20_000, rng=rng(2)
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.02)


def test_sampled_p_is_never_zero_and_counts_itself() -> None:
    with np.errstate(all="raise"):
        for count in (60, 3000):  # 2^3000 is no number
            assert sign_flip_p(np.ones((count, 1)), 999, rng())[0] == pytest.approx(1 / 1000)


def test_no_difference_at_all_has_p_one() -> None:
    assert sign_flip_p(np.zeros((50, 2)), 100, rng()).tolist() == [1.0, 1.0]
    assert sign_flip_p(np.zeros((0, 2)), 100, rng()).tolist() == [1.0, 1.0]


def test_sampled_and_enumerated_flips_agree() -> None:
    column = rng(3).choice([-1.0, -0.5, 0.5, 1.0], 12)[:, None]
    exact = sign_flip_p(column, 2**12, rng())[0]
    sampled = sign_flip_p(column, 2**12 - 1, rng())[0]
    assert exact == pytest.approx(sampled, abs=0.03)
    assert exact != sampled


def test_groups_are_summed_whatever_the_order_of_the_examples() -> None:
    values = rng(4).random((40, 3))
    groups = [f"g{i % 7}" for i in range(40)]
    order = rng(5).permutation(40)
    one, two = units(values, groups), units(values[order], [groups[i] for i in order])
    assert np.array_equal(one.sums, two.sums)
    assert np.array_equal(one.sizes, two.sizes)
    assert sorted(one.sizes) == [5, 5, 6, 6, 6, 6, 6]
    assert one.means == pytest.approx(values.mean(axis=0))


def test_a_group_of_one_each_is_no_group() -> None:
    values = rng(6).random((30, 2))
    one, two = units(values), units(values, [str(i) for i in range(30)])
    assert np.array_equal(one.sums, two.sums)


def _studentised(data: Units, count: int = 1000, seed: int = 0) -> tuple[float, float, float]:
    found = studentise(data, count, rng(seed), least=-1.0, most=1.0)
    low, high = found.interval(0.05)
    return float(low[0]), float(high[0]), float(found.above_p(-0.02)[0])


@settings(max_examples=60, deadline=None)
@example(values=[-1.0, 0.0, 0.0, 0.0, 0.0, 1.0], grouped=True)
@given(
    values=st.lists(st.sampled_from([-1.0, -0.4, 0.0, 0.0, 0.5, 1.0]), min_size=1, max_size=40),
    grouped=st.booleans(),
)
def test_interval_contains_the_mean_and_turns_with_its_sides(
    values: list[float], grouped: bool
) -> None:
    groups = [str(i // 3) for i in range(len(values))] if grouped else None
    data = units(np.array(values)[:, None], groups)
    low, high, p = _studentised(data)
    mean = float(np.mean(values))
    assert -1 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert 0 <= p <= 1
    turned = studentise(Units(-data.sums, data.sizes), 1000, rng(), least=-1.0, most=1.0)
    mirrored = studentise(data, 1000, rng(), least=-1.0, most=1.0).negated()
    assert turned.interval(0.05)[0] == pytest.approx(mirrored.interval(0.05)[0])
    assert turned.above_p(-0.02) == pytest.approx(mirrored.above_p(-0.02))


def test_a_large_sample_agrees_with_the_t_test() -> None:
    values = rng(7).uniform(-1, 1, 2000) * 0.2
    low, high, _ = _studentised(units(values[:, None]), 5000)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=4e-4)


def test_groups_that_agree_within_themselves_count_once() -> None:
    each = rng(8).choice([-1.0, 0.0, 1.0], 60)
    alone = _studentised(units(each[:, None]), 4000)
    fourfold = _studentised(units(np.repeat(each, 4)[:, None], [str(i // 4) for i in range(240)]))
    assert fourfold[:2] == pytest.approx(alone[:2], abs=0.04)
    ungrouped = _studentised(units(np.repeat(each, 4)[:, None]))
    assert ungrouped[1] - ungrouped[0] < 0.6 * (alone[1] - alone[0])


@pytest.mark.parametrize("n", [1, 10, 150, 1000])
def test_no_spread_leaves_what_the_count_alone_can_say(n: int) -> None:
    low, high, p = _studentised(units(np.zeros((n, 1))))
    limit = 1 - 0.025 ** (1 / n)
    assert (low, high) == pytest.approx((-limit, limit), rel=1e-6)
    assert p == pytest.approx(0.98**n, rel=1e-6)


def test_three_rare_losses_in_five_hundred() -> None:
    """The bootstrap alone would reach down to -1: some resamples have no loss at all."""
    values = np.zeros(500)
    values[:3] = -1
    low, high, p = _studentised(units(values[:, None]), 4000)
    assert low == pytest.approx(-float(scipy_stats.beta.ppf(0.975, 4, 497)), rel=1e-6)
    assert 0 > high > -0.006
    assert p == pytest.approx(float(scipy_stats.binom.cdf(3, 500, 0.02)), rel=0.2)


def test_scores_that_are_all_equal_keep_an_interval() -> None:
    found = studentise(units(np.full((100, 1), 0.5)), 500, rng(), least=0.0, most=1.0)
    low, high = found.interval(0.05)
    assert 0.45 < low[0] < 0.5 < high[0] < 0.55


def test_the_same_seed_draws_the_same() -> None:
    data = units(rng(9).random((80, 2)))
    one = studentise(data, 300, rng(1), least=0.0, most=1.0)
    two = studentise(data, 300, rng(1), least=0.0, most=1.0)
    assert np.array_equal(one.t, two.t)
