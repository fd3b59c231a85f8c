"""`watch` is wrong no more often than it says, though the score at promotion is itself in doubt.

Holdout and labels are drawn from a known truth, and every label is looked at. A release was alone
in its comparison, or the best of six that are equally good, whose score is flattered by the choice.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.figures import soak_runs, write_block
from tests.invariants.verdict_simulation import allowed

from assay.evaluate.sequential import bounds_below, is_below, labels_needed
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


def count_before(
    rows: int, truth: float, candidates: int, fall: float, *, labels: int, runs: int, seed: int = 7
) -> tuple[int, int]:
    """As `count`, by the rule before: the score at promotion was taken as exact in `holds`, and its
    lower end in `stale`."""
    rng = np.random.default_rng(seed)
    stale = holds = 0
    for _ in range(runs):
        right = int(rng.binomial(rows, truth, candidates).max())
        (low, _), score = wilson(right, rows), right / rows
        fresh = (rng.random(labels) < truth - fall).astype(float)
        stale += is_below(fresh, bounds_below(low, low, low, ALPHA), ALPHA)
        kept = 1 - score + DROP
        holds += is_below(1 - fresh, bounds_below(kept, kept, kept, ALPHA), ALPHA)
    return stale, holds


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_watches() -> None:
    runs, labels, lines = soak_runs(400), 3000, []
    for rows, truth in ((100, 0.8), (200, 0.6), (200, 0.8), (400, 0.9), (1000, 0.9)):
        for candidates in (1, 6):
            kept, fallen = (
                [
                    rule(rows, truth, candidates, fall, labels=labels, runs=runs)
                    for rule in (count_before, count)
                ]
                for fall in (0.0, DROP)
            )
            assert max(kept[1][0], fallen[1][1]) <= allowed(ALPHA, runs)
            figures = " | ".join(
                f"{100 * before / runs:.1f} → {100 * now / runs:.1f} %"
                for before, now in (
                    (kept[0][0], kept[1][0]),
                    (fallen[0][1], fallen[1][1]),
                    (fallen[0][0], fallen[1][0]),
                    (kept[0][1], kept[1][1]),
                )
            )
            lines.append(f"| {truth} | {rows} | {candidates} | {figures} |")
    head = (
        "| true score | holdout | equal candidates | wrong `stale` | wrong `holds` | right `stale` "
        "| right `holds` |\n|---|---|---|---|---|---|---|\n"
    )
    write_block("watches", head + "\n".join(lines), f"{runs} watches a figure")


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_labels_asked_for() -> None:
    """As many labels as are stated for the true score, with a score at promotion that is drawn."""
    runs, lines = soak_runs(1000), []
    for truth, rows, drop in (
        (0.9, 400, 0.1),
        (0.9, 1000, 0.1),
        (0.8, 1000, 0.1),
        (0.8, 1000, 0.2),
        (0.8, 200, 0.2),
    ):
        right = round(truth * rows)
        at, rng = Reference(truth, *wilson(right, rows)), np.random.default_rng(7)
        figures = []
        for turned in (False, True):
            mean = 1 - truth if turned else truth - drop
            bounds = at.holds_bounds(drop) if turned else at.stale_bounds()
            needed = labels_needed([], bounds, mean, mean * (1 - mean), ALPHA, error=at.error)
            shown = 0
            for _ in range(runs):
                seen = int(rng.binomial(rows, truth))
                drawn = Reference(seen / rows, *wilson(seen, rows))
                fresh = (rng.random(needed) < mean).astype(float)
                rule = drawn.holds_bounds(drop) if turned else drawn.stale_bounds()
                shown += is_below(fresh, rule, ALPHA)
            assert 0.7 * runs <= shown, (truth, rows, drop, turned, shown)
            figures.append(f"{needed:,} | {100 * shown / runs:.0f} %")
        lines.append(f"| {truth} | {rows:,} | {100 * drop:.0f} points | {' | '.join(figures)} |")
    head = (
        "| true score | holdout | drop | `stale`: labels stated | shown with so many | `holds`: "
        "labels stated | shown with so many |\n|---|---|---|---|---|---|---|\n"
    )
    write_block("labels of watches", head + "\n".join(lines), f"{runs:,} watches a figure")
