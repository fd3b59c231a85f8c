"""As many new examples as a verdict asks for do settle it, about eight times in ten.

First holdouts are drawn until one cannot tell and the best looks ahead by just as much as it truly
is, which is what the number is said for; its disagreement is left as it was drawn, and its errors
average out. Then a holdout of the size that was asked for is drawn and decided. The seeded part
runs in `make test`; this prints the rows of docs/statistics.md:

    python -m tests.invariants.test_settling_simulation 400
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.invariants.verdict_simulation import LEAD_5, LEAD_10, Cell, judge

EQUAL_BEST = (0.7, 0.66, 0.62, 0.7, 0.55, 0.3)


def candidates(truth: tuple[float, ...], n: int, tuned: int | None = None) -> Cell:
    """Six candidates, the floor among them."""
    return Cell("binary", n, truth, shared=0.9, floor=True, tuned=tuned)


CELLS = (
    candidates(LEAD_5, 50),
    candidates(LEAD_5, 50, tuned=3),
    candidates(LEAD_5, 100, tuned=3),
    candidates(LEAD_10, 30),
    candidates(LEAD_10, 30, tuned=3),
    candidates(EQUAL_BEST, 100),
)


def sizes_asked_for(cell: Cell, count: int, rng: np.random.Generator) -> list[int]:
    """What so many comparisons ask for that cannot tell and look as the truth is."""
    ranked = sorted(range(len(cell.truth)), key=lambda i: cell.truth[i], reverse=True)
    lead = cell.truth[ranked[0]] - cell.truth[ranked[1]]
    sizes: list[int] = []
    drawn = 0
    while len(sizes) < count:
        drawn += 1
        decision = judge(cell, rng, drawn, None)
        size = decision.verdict.more_if_as_seen
        if size is None:
            continue
        scores = [candidate.score or 0.0 for candidate in decision.candidates]
        best = scores.pop(ranked[0])
        if abs(best - max(scores) - lead) < 0.5 / cell.n + 1e-9:
            sizes.append(size)
    return sizes


def settle(cell: Cell, runs: int, seed: int) -> tuple[float, float]:
    """The median of the sizes asked for, and the share of new holdouts of these sizes that
    recommend one that is truly best."""
    rng = np.random.default_rng([seed, cell.n, *cell.label.encode()])
    sizes = sizes_asked_for(cell, runs, rng)
    best = {f"c{i}" for i, mean in enumerate(cell.truth) if mean == max(cell.truth)}
    settled = 0
    for run, size in enumerate(sizes):
        verdict = judge(replace(cell, n=size), rng, run, None).verdict
        settled += verdict.recommend in best
    return float(np.median(sizes)), settled / runs


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=[f"{cell.label}, {cell.tuned}" for cell in CELLS])
def test_as_many_new_examples_as_asked_for_settle_it(cell: Cell) -> None:
    """Fewer than 70 % would be too few of them, more than 93 % too many, but where either of two
    will do."""
    _, share = settle(cell, 100, seed=7)
    assert 0.7 <= share <= (1.0 if cell.truth == EQUAL_BEST else 0.93), share


if __name__ == "__main__":
    for cell in CELLS:
        size, share = settle(cell, int(sys.argv[1]), seed=1)
        tuned = "yes" if cell.tuned is not None else "no"
        means = "/".join(f"{100 * mean:g}" for mean in sorted(cell.truth, reverse=True))
        row = f"| {means} | {tuned} | {cell.n} | {size:,.0f} | "
        print(f"{row}{100 * share:.0f} % |", flush=True)
