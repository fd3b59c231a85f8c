"""`watch` is wrong no more often than it says, though the score at promotion is itself in doubt.

Holdout and labels are drawn from a known truth, and every label is looked at. A release was alone
in its comparison, or the best of six that are equally good, whose score is flattered by the choice.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.invariants.verdict_simulation import allowed

from assay.evaluate.sequential import is_below
from assay.evaluate.stats import wilson
from assay.release.watch import ALPHA, DROP, Reference


def count(
    rows: int, truth: float, candidates: int, fall: float, *, labels: int, runs: int, seed: int = 7
) -> tuple[int, int]:
    """How many of so many watches ever say `stale`, and how many ever `holds`.

    Args:
        rows: of the holdout.
        fall: of the true score since promotion.
    """
    rng = np.random.default_rng(seed)
    stale = holds = 0
    for _ in range(runs):
        right = int(rng.binomial(rows, truth, candidates).max())
        at = Reference(right / rows, *wilson(right, rows), chosen_among=candidates)
        fresh = (rng.random(labels) < truth - fall).astype(float)
        stale += is_below(fresh, at.stale_bounds(), ALPHA)
        holds += is_below(1 - fresh, at.holds_bounds(DROP), ALPHA)
    return stale, holds


@pytest.mark.parametrize(
    ("rows", "truth", "candidates"), [(100, 0.8, 1), (200, 0.6, 1), (100, 0.8, 6)]
)
def test_watch_is_wrong_no_more_often_than_it_says(
    rows: int, truth: float, candidates: int
) -> None:
    runs = 200
    stale, _ = count(rows, truth, candidates, 0.0, labels=2000, runs=runs)
    _, holds = count(rows, truth, candidates, DROP, labels=2000, runs=runs)
    assert stale <= allowed(ALPHA, runs)
    assert holds <= allowed(ALPHA, runs)


def test_a_well_known_score_is_watched_with_few_labels() -> None:
    """The promise above would be kept by a watch that never says anything."""
    stale, _ = count(1000, 0.9, 1, DROP, labels=1000, runs=50)
    _, holds = count(1000, 0.9, 1, 0.0, labels=1000, runs=50)
    assert stale >= 45
    assert holds >= 45


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_watches() -> None:
    runs, labels = 2000, 3000
    for rows, truth in ((100, 0.8), (200, 0.6), (200, 0.8), (400, 0.9), (1000, 0.9)):
        for candidates in (1, 6):
            kept = count(rows, truth, candidates, 0.0, labels=labels, runs=runs)
            fallen = count(rows, truth, candidates, DROP, labels=labels, runs=runs)
            shares = (100 * found / runs for found in (kept[0], fallen[1], fallen[0], kept[1]))
            print(f"| {truth:.2f}, {rows}, {candidates} |", *(f"{x:.1f} % |" for x in shares))
            assert max(kept[0], fallen[1]) <= allowed(ALPHA, runs)
