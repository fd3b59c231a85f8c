"""Intervals from unlabelled inputs cover what is true, however wrong the model that labels them is.

The seeded part runs in `make test`; `make soak` counts 2000 runs of every cell and writes its table
of docs/statistics.md, with the rule before beside it.
"""

from __future__ import annotations

import pytest
from tests.figures import soak_runs, write_block
from tests.invariants.prediction_powered_simulation import (
    CELLS,
    Cell,
    Tally,
    simulate,
    table,
)

LEAST_COVERAGE = 0.93


def check(cell: Cell, tally: Tally) -> None:
    error = (LEAST_COVERAGE * (1 - LEAST_COVERAGE) / tally.runs) ** 0.5
    least = LEAST_COVERAGE - (0 if tally.runs >= 1000 else 3 * error)
    assert tally.score_coverage >= least, (cell, tally)
    assert tally.difference_coverage >= least, (cell, tally)


SEEDED = (
    Cell(100, (0.9, 0.9), 0.05),
    Cell(100, (0.9, 0.9), 0.5),
    Cell(100, (0.9, 0.9), 0.3, "for the first"),
    Cell(100, (0.9, 0.9), 0.1, "on hard rows"),
    Cell(240, (0.9, 0.88), 0.3, "for the first", groups=60),
)


@pytest.mark.parametrize("cell", SEEDED, ids=[cell.label for cell in SEEDED])
def test_intervals_cover_however_wrong_the_model_is(cell: Cell) -> None:
    check(cell, simulate(cell, 1000, seed=1))


def test_a_good_model_is_worth_labels_and_a_bad_one_next_to_none() -> None:
    """The promise above would be kept by intervals that are as wide as can be."""
    good = simulate(Cell(300, (0.9, 0.88), 0.05), 30, seed=7)
    assert good.score_worth > 1.8
    assert good.difference_worth > 2.8
    bad = simulate(Cell(300, (0.9, 0.88), 0.5), 30, seed=7)
    assert 0.9 < bad.score_worth < 1.2
    assert 0.9 < bad.difference_worth < 1.3


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_and_write_its_table() -> None:
    runs = soak_runs(2000)
    results = [(cell, simulate(cell, runs, seed=1)) for cell in CELLS]
    for cell, tally in results:
        check(cell, tally)
    write_block("unlabelled inputs", table(results), f"{runs:,} runs a row")
