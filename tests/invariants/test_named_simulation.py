"""The range of the one that a verdict names allows for its having been chosen.

What is chosen for its score is flattered by chance, and its own 95 % interval lies too high. The
seeded part runs in `make test`; `make soak` writes the table of docs/statistics.md.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.figures import soak_runs, write_block
from tests.invariants.verdict_simulation import EQUAL, LEAD_5, Cell, Tally, simulate

LEAST_COVERAGE = 0.93
RESAMPLES = 2000
CELLS = (
    Cell("binary", 100, EQUAL[:2]),
    Cell("binary", 100, EQUAL),
    Cell("binary", 100, EQUAL * 2),
    Cell("binary", 500, EQUAL),
    Cell("binary", 100, LEAD_5, shared=0.9, floor=True),
    Cell("fields", 100, EQUAL),
)


def check(cell: Cell, tally: Tally) -> None:
    slack = 3 * (LEAST_COVERAGE * (1 - LEAST_COVERAGE) / tally.runs) ** 0.5
    assert tally.named == tally.runs, (cell, tally)
    assert tally.named_coverage >= LEAST_COVERAGE - slack, (cell, tally)
    assert tally.loss_coverage >= LEAST_COVERAGE - slack, (cell, tally)


def test_the_range_of_the_best_of_twelve_is_not_flattered() -> None:
    cell, runs = Cell("binary", 100, EQUAL * 2, priced=False), 300
    tally = simulate(cell, runs, seed=7)
    check(cell, tally)
    assert tally.named_alone_covered < 0.88 * runs, "the count sees who was chosen"


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_the_one_that_is_named() -> None:
    runs, lines = soak_runs(1000), []
    for priced in (False, True):
        for cell in (replace(cell, priced=priced) for cell in CELLS):
            tally = simulate(cell, runs, seed=1, resamples=RESAMPLES)
            check(cell, tally)
            means = "/".join(f"{100 * mean:g}" for mean in sorted(set(cell.truth), reverse=True))
            lines.append(
                f"| {'known' if priced else 'not known'} | {len(cell.truth)} | {cell.kind} | "
                f"{cell.n} | {means} | {100 * tally.named_alone_covered / runs:.1f} → "
                f"{100 * tally.named_coverage:.1f} % | {100 * tally.loss_coverage:.1f} % |"
            )
    head = (
        "| costs | candidates | scores | n | true scores in 100 | its range covers, before → now | "
        "loss |\n|---|---|---|---|---|---|---|\n"
    )
    write_block("named", head + "\n".join(lines), f"{runs:,} comparisons a row, 2,000 resamples")
