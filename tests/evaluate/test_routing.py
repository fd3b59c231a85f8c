"""Curves of routes: by hand, beside an enumeration, and their intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from assay.evaluate.routing import (
    ArmCosts,
    area_above_random,
    curve,
    cuts_of,
    oracle,
    reached,
    threshold_for,
    worth,
)
from assay.evaluate.stats import Floats


def _made(rng: np.random.Generator, n: int, skill: float) -> tuple[Floats, Floats]:
    """Scores of two arms and a need that tells, by `skill`, where the strong one gains."""
    hard = rng.random(n) < 0.4
    cheap = (rng.random(n) < np.where(hard, 0.3, 0.9)).astype(float)
    strong = (rng.random(n) < 0.85).astype(float)
    return np.stack([cheap, strong], axis=1), skill * hard + rng.random(n)


def test_four_examples_by_hand() -> None:
    scores = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    found = worth(scores, np.array([0, 1, 0, 0]))
    assert found.shares == (0.75, 0.25)
    assert found.quality.value == 0.75
    # Random with a quarter strong: 0.75 · 0.5 + 0.25 · 0.75 = 0.5625.
    assert found.random.difference.value == pytest.approx(0.75 - 0.5625)
    assert found.best_arm == 1
    assert found.best_single.difference.value == 0.0
    assert found.best_single.call == "tie"
    assert found.oracle == oracle(scores)
    assert (found.oracle.quality, found.oracle.share) == (1.0, 0.5)


def test_a_cascade_pays_the_cheap_arm_as_well() -> None:
    scores = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    answered = np.array([0, 1, 0, 0])
    # A request costs 1 or 1 + 4: 2 on average, for which random mixing sends a third to the
    # strong arm (2/3 · 1 + 1/3 · 4 = 2), not a quarter.
    found = worth(scores, answered, costs=ArmCosts(1.0, 4.0, both=True))
    mixed = 2 / 3 * 0.5 + 1 / 3 * 0.75
    assert found.random.difference.value == pytest.approx(0.75 - mixed)
    free = worth(scores, answered, costs=ArmCosts(1.0, 4.0))
    assert free.random.difference.value == pytest.approx(0.75 - 0.5625)
    # Where both calls cost more than the strong arm alone, so does nothing but the strong arm.
    all_both = worth(scores, np.ones(4), costs=ArmCosts(1.0, 4.0, both=True))
    assert all_both.random.difference.value == pytest.approx(0.0)


@pytest.mark.parametrize(
    "costs", [None, ArmCosts(1.0, 3.0, both=True), ArmCosts(2.0, 1.0, both=True)]
)
def test_the_area_is_the_mean_over_all_shares(costs: ArmCosts | None) -> None:
    rng = np.random.default_rng(1)
    scores, need = _made(rng, 60, 0.5)
    need = np.round(need, 1)  # many are equal
    shares = (np.arange(60) + 0.5) / 60
    gain = scores[:, 1] - scores[:, 0]
    above = []
    for share in shares:
        # Among equals each order is as likely: the expected gain of the first share · n.
        left, total = share * 60, 0.0
        for value in np.unique(need)[::-1]:
            here = need == value
            part = min(left / here.sum(), 1.0)
            total += part * gain[here].sum()
            left -= part * here.sum()
            if left <= 0:
                break
        mixed = (costs or ArmCosts()).random_share(np.array([share]))[0]
        above.append(total / 60 - mixed * gain.mean())
    assert area_above_random(scores, need, costs=costs) == pytest.approx(np.mean(above), abs=1e-9)
    assert curve(scores, need, costs=costs).area.difference.value == pytest.approx(np.mean(above))


def test_the_curve_goes_from_one_arm_to_the_other() -> None:
    scores, need = _made(np.random.default_rng(2), 300, 1.0)
    found = curve(scores, need)
    ends = sorted(found.points, key=lambda p: p.share)
    assert (ends[0].share, ends[-1].share) == (0.0, 1.0)
    for end, arm in ((ends[0], 0), (ends[-1], 1)):
        assert end.quality.value == pytest.approx(scores[:, arm].mean())
        assert end.random == pytest.approx(scores[:, arm].mean())
    assert 15 <= len(found.points) <= 21
    assert all(p.quality.low <= p.quality.value <= p.quality.high for p in found.points)
    assert found.area.call == "better"
    assert curve(scores, -need).area.call == "worse"


def test_a_need_that_knows_nothing_is_a_tie_and_a_constant_one_has_no_area() -> None:
    scores, _ = _made(np.random.default_rng(3), 300, 1.0)
    flat = curve(scores, np.zeros(300))
    assert flat.area.call == "tie"
    assert flat.area.difference.value == pytest.approx(0.0)
    assert [p.share for p in flat.points] == [1.0, 0.0]


def test_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(4)
    scores, need = _made(rng, 40, 1.0)
    many = np.repeat(scores, 10, axis=0), np.repeat(need, 10)
    names = [str(i // 10) for i in range(400)]
    alone = curve(*many).area.difference
    grouped = curve(*many, groups=names).area.difference
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)
    assert grouped.value == pytest.approx(alone.value)


@pytest.mark.slow
@pytest.mark.parametrize("skill", [0.0, 0.5])
def test_intervals_cover_the_truth_as_often_as_stated(skill: float) -> None:
    """Without skill this is how seldom a tie is called something else."""
    rng = np.random.default_rng(5)
    scores, need = _made(rng, 400_000, skill)
    strong = need > 0.7
    gain = scores[:, 1] - scores[:, 0]
    truths = (
        area_above_random(scores, need),
        float(((strong - strong.mean()) * (gain - gain.mean())).mean()),
    )
    missed = [0, 0]
    for _ in range(100):
        scores, need = _made(rng, 120, skill)
        found = (
            curve(scores, need).area.difference,
            worth(scores, (need > 0.7).astype(int)).random.difference,
        )
        for place, (truth, interval) in enumerate(zip(truths, found, strict=True)):
            missed[place] += not interval.low <= truth <= interval.high
    # 5 are expected; more than 13 with a chance of 1 in 1000.
    assert max(missed) <= 13


def test_the_threshold_does_what_was_asked_for() -> None:
    scores = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    need = np.array([0.1, 0.9, 0.5, 0.3])

    def share(cut: float) -> float:
        return float((need > cut).mean())

    assert share(threshold_for(scores, need, target=1.0)) == 0.5
    assert share(threshold_for(scores, need, target=0.75)) == 0.25
    assert share(threshold_for(scores, need, target=0.5)) == 0.0
    assert share(threshold_for(scores, need, target=1.0, most_strong=0.3)) == 0.25
    assert share(threshold_for(scores, need, target=1.0, most_strong=1.0)) == 0.5
    assert share(threshold_for(scores, need, target=1.0, most_strong=0.0)) == 0.0
    worse = scores[:, ::-1]
    assert share(threshold_for(worse, need, target=1.0)) == 0.0
    equal = np.zeros(4)  # cannot be divided
    assert threshold_for(scores, equal, target=0.6) == -2.0
    assert list(cuts_of(equal)) == [-2.0, 2.0]


def test_reached_says_kept_missed_or_not_known() -> None:
    rng = np.random.default_rng(7)
    scores, need = _made(rng, 2000, 1.0)
    routed = np.where(need > 0.9, scores[:, 1], scores[:, 0])
    assert reached(scores, routed, 0.5).call == "better"
    assert reached(scores, scores[:, 0], 1.0).call == "worse"
    assert reached(scores, scores[:, 1], 1.0).call == "tie"


def test_many_examples_take_little_time_and_memory() -> None:
    rng = np.random.default_rng(8)
    scores, need = _made(rng, 20_000, 0.5)
    threshold_for(scores, need, target=0.95)
