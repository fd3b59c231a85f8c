"""A test that may be looked at after every label, and says how many labels it needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.evaluate import sequential
from assay.evaluate.sequential import (
    MOST_LABELS,
    bets,
    bounds_below,
    confidence_sequence,
    labels_needed,
    stake_below,
)
from assay.evaluate.stats import clopper_pearson_upper

ALPHA = 0.025
Scores = st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), max_size=40)


def is_below(scores: Sequence[float], m: float, alpha: float) -> bool:
    """Below a value that is not in doubt."""
    return sequential.is_below(scores, bounds_below(m, m, m, alpha), alpha)


def is_above(scores: Sequence[float], m: float, alpha: float) -> bool:
    return is_below([1 - score for score in scores], 1 - m, alpha)


def needed(m: float, mean: float, variance: float, scores: Sequence[float] = ()) -> int:
    return labels_needed(scores, bounds_below(m, m, m, ALPHA), mean, variance, ALPHA)


def _streams(kind: str, mean: float, count: int, labels: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "binary":
        return (rng.random((count, labels)) < mean).astype(float)
    return rng.beta(4 * mean, 4 * (1 - mean), (count, labels))


def _alarms(kind: str, mean: float, count: int, labels: int, seed: int) -> int:
    stakes = stake_below(_streams(kind, mean, count, labels, seed), mean, ALPHA)
    return int((stakes.max(axis=-1) >= math.log(1 / ALPHA)).sum())


@pytest.mark.parametrize("kind", ["binary", "graded"])
@pytest.mark.parametrize("mean", [0.3, 0.86, 0.97])
def test_false_alarms_are_as_rare_as_promised(kind: str, mean: float) -> None:
    """The mean is exactly the one tested, and the test is looked at after each of 400 labels."""
    alarms = _alarms(kind, mean, 1000, 400, seed=3)
    # So few that a rate above alpha is not shown, at one in ten thousand.
    assert alarms / 1000 <= ALPHA or clopper_pearson_upper(1000 - alarms, 1000, 1e-4) >= 1 - ALPHA


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["binary", "graded"])
@pytest.mark.parametrize("mean", [0.1, 0.3, 0.5, 0.86, 0.97])
def test_false_alarms_over_long_watches(kind: str, mean: float) -> None:
    count, alarms = 20_000, 0
    for part in range(20):
        alarms += _alarms(kind, mean, count // 20, 3000, seed=100 + part)
    print(f"{kind} {mean}: {alarms / count:.4f} of {count} watches of 3000 labels, level {ALPHA}")
    assert alarms / count <= ALPHA


@pytest.mark.parametrize(("m", "mean"), [(0.85, 0.75), (0.5, 0.4), (0.95, 0.85), (0.4, 0.2)])
def test_the_stated_number_of_labels_suffices_four_times_in_five(m: float, mean: float) -> None:
    labels = needed(m, mean, mean * (1 - mean))
    stakes = stake_below(_streams("binary", mean, 500, labels, seed=4), m, ALPHA)
    power = float((stakes.max(axis=-1) >= math.log(1 / ALPHA)).mean())
    assert 0.68 < power < 0.93


def test_narrow_scores_need_fewer_labels() -> None:
    wide = needed(0.5, 0.4, 0.24)
    assert needed(0.5, 0.4, 0.02) < wide / 3
    assert needed(0.5, 0.4, 0.24, [0.0, 0.0, 1.0, 0.0] * 10) < wide
    assert needed(0.5, 0.4, 0.24, [0.0] * 40) == 0
    assert needed(0.5, 0.5, 0.25) == MOST_LABELS
    assert needed(0.5, 0.499, 0.25) == MOST_LABELS


def test_a_value_in_doubt_needs_more_labels() -> None:
    sure, rough = bounds_below(0.8, 0.8, 0.8, ALPHA), bounds_below(0.8, 0.76, 0.84, ALPHA)
    one_of_ten = bounds_below(0.8, 0.76, 0.84, ALPHA, chosen_among=10)
    plain, more, most = (
        labels_needed([], bounds, 0.7, 0.21, ALPHA) for bounds in (sure, rough, one_of_ten)
    )
    assert plain < more < most < MOST_LABELS
    assert labels_needed([], rough, 0.7, 0.21, ALPHA, error=0.02) > more


def test_edges() -> None:
    assert confidence_sequence([], 0.05) == (0.0, 1.0)
    assert not is_below([], 0.5, ALPHA)
    assert not is_below([0.0] * 3, 0.0, ALPHA)  # nothing lies below 0
    assert not is_above([1.0] * 3, 1.0, ALPHA)
    assert is_below([0.0] * 40, 1.0, ALPHA)
    low, high = confidence_sequence([1.0] * 300, 0.05)
    assert low > 0.95
    assert high == 1.0


def test_a_bet_knows_only_what_came_before() -> None:
    one, other = [0.2, 0.9, 0.4, 0.0], [0.2, 0.9, 0.4, 1.0]
    assert bets(one, ALPHA).tolist() == bets(other, ALPHA).tolist()
    assert bets(one, ALPHA)[2] != bets([0.2, 0.1, 0.4], ALPHA)[2]


@given(Scores, st.floats(0, 1), st.floats(0, 1))
def test_what_excludes_a_mean_excludes_every_one_beyond(
    scores: list[float], one: float, other: float
) -> None:
    smaller, larger = sorted((one, other))
    if is_below(scores, smaller, ALPHA):
        assert is_below(scores, larger, ALPHA)
    if is_above(scores, larger, ALPHA):
        assert is_above(scores, smaller, ALPHA)


@given(Scores)
def test_the_sequence_is_an_interval_and_narrows(scores: list[float]) -> None:
    low, high = confidence_sequence(scores, 0.05)
    assert 0 <= low <= high <= 1
    for count in range(len(scores)):
        before = confidence_sequence(scores[:count], 0.05)
        assert before[0] <= low
        assert high <= before[1]


@given(Scores)
def test_turned_around_it_says_the_same(scores: list[float]) -> None:
    low, high = confidence_sequence(scores, 0.05)
    turned = confidence_sequence([1 - score for score in scores], 0.05)
    assert turned == pytest.approx((1 - high, 1 - low), abs=2e-3)
