"""What two candidates add to one another."""

from __future__ import annotations

import numpy as np
import pytest

from assay.evaluate.factorial import factorial

NAMES = ("prompt", "fine-tune", "rag", "fine-tune-rag")


def test_effects_by_hand() -> None:
    rng = np.random.default_rng(1)
    neither, a, b, both = (rng.random(200) for _ in range(4))
    found = factorial(NAMES, (neither, a, b, both), None)
    assert found.a_alone.difference == pytest.approx((a - neither).mean())
    assert found.a_beside.difference == pytest.approx((both - b).mean())
    assert found.b_alone.difference == pytest.approx((b - neither).mean())
    assert found.b_beside.difference == pytest.approx((both - a).mean())
    assert found.interaction.difference == pytest.approx((both - a - b + neither).mean())
    assert found.interaction.difference == pytest.approx(
        found.b_beside.difference - found.b_alone.difference
    )
    for effect in (found.a_alone, found.interaction):
        assert effect.low < effect.difference < effect.high


def test_what_each_does_in_part_is_seen() -> None:
    """Both ways mend the same tenth of the rows: together they add no more than one."""
    rng = np.random.default_rng(2)
    neither = (rng.random(600) < 0.5).astype(float)
    mended = np.maximum(neither, (rng.random(600) < 0.4).astype(float))
    found = factorial(NAMES, (neither, mended, mended, mended), None)
    assert found.interaction.high < 0
    assert found.a_beside.difference == 0


def test_intervals_hold_what_they_promise() -> None:
    """Of 60 draws with an interaction of 0.1, nine in ten at least are covered."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(10_000 + seed)
        rows = [(rng.random(100) < p).astype(float) for p in (0.4, 0.5, 0.5, 0.7)]
        found = factorial(NAMES, (rows[0], rows[1], rows[2], rows[3]), None).interaction
        covered += found.low <= 0.1 <= found.high
    assert covered >= 54


def test_the_same_examples_are_needed() -> None:
    with pytest.raises(ValueError, match="same examples"):
        factorial(NAMES, ([1.0], [1.0], [1.0], []), None)
