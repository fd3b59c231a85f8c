"""A verdict is wrong no more often than it says: simulated comparisons through all of `decide`.

The seeded part runs in `make test`; `make soak` runs 1000 comparisons of every cell and writes
docs/statistics.md.
"""

from __future__ import annotations

import json

import pytest
from scipy import stats
from tests.figures import STATISTICS
from tests.invariants.verdict_figures import CELLS, interval_coverage, name, soak
from tests.invariants.verdict_simulation import (
    AT_MARGIN,
    COLLAPSING,
    EQUAL,
    HIGH_AT_MARGIN,
    HIGH_LEAD,
    LEAD_5,
    LEAD_10,
    ONE_BETTER,
    THREE_WORSE,
    Cell,
    Tally,
    allowed,
    simulate,
)

from assay.evaluate.stats import opening_alpha

FAMILY_WISE = 0.05
LEAST_COVERAGE = 0.93
POWER = {
    LEAD_5: {50: 0.08, 100: 0.24, 200: 0.53, 500: 0.88, 1000: 0.995},
    LEAD_10: {50: 0.27, 100: 0.64, 200: 0.93, 500: 0.995, 1000: 0.995},
}
"""Shares of right recommendations that are promised, by rows, where nothing is fine-tuned."""


def check(cell: Cell, tally: Tally) -> None:
    """The promises of a verdict, with the Monte Carlo error of so many runs."""
    runs = tally.runs
    most = allowed(min(FAMILY_WISE, opening_alpha(FAMILY_WISE, cell.opening)), runs)
    assert tally.false_difference <= most, (cell, tally)
    assert tally.false_equivalence <= most, (cell, tally)
    assert tally.false_eligible <= most, (cell, tally)
    assert tally.false_call <= allowed(FAMILY_WISE, runs), (cell, tally)
    assert tally.wrong <= tally.false_eligible, (cell, tally)
    # Pairs of one comparison share their examples: three errors of independent comparisons. Below
    # 30 groups intervals are rough, and the verdict says so.
    error = 3 * (LEAST_COVERAGE * (1 - LEAST_COVERAGE) / runs) ** 0.5
    exact = runs >= 1000 and (cell.groups is None or cell.groups >= 30)
    least = LEAST_COVERAGE - (0 if exact else error)
    assert tally.pair_coverage >= least, (cell, tally)
    assert tally.single_coverage >= least, (cell, tally)
    # One of a comparison: its own error.
    slack = 3 * (LEAST_COVERAGE * (1 - LEAST_COVERAGE) / runs) ** 0.5 if runs < 1000 else 0
    assert tally.named_coverage >= LEAST_COVERAGE - slack, (cell, tally)
    assert tally.loss_coverage >= LEAST_COVERAGE - slack, (cell, tally)
    if cell.tuned is None:
        assert tally.right >= runs * POWER.get(cell.truth, {}).get(cell.n, 0), (cell, tally)


SEEDED = (
    (Cell("binary", 100, EQUAL), 300),
    (Cell("binary", 40, HIGH_LEAD, floor=True), 200),
    (Cell("collapse", 60, COLLAPSING), 150),
    (Cell("collapse", 60, COLLAPSING, groups=54), 150),
    (Cell("binary", 1000, (0.68, 0.7), groups=40, shared=0.9, largest=0.1), 250),
    (Cell("binary", 400, EQUAL), 400),
    (Cell("binary", 1500, AT_MARGIN, shared=0.9), 300),
    (Cell("binary", 1000, THREE_WORSE, shared=0.9), 300),
    (Cell("binary", 1000, ONE_BETTER, shared=0.9), 300),
    (Cell("fields", 200, EQUAL), 150),
    (Cell("partial", 400, HIGH_AT_MARGIN, shared=0.9), 150),
    (Cell("binary", 400, EQUAL, groups=40), 250),
    (Cell("fields", 1200, AT_MARGIN, groups=60, shared=0.9, group_share=0.1), 150),
    (Cell("fields", 1200, THREE_WORSE, groups=60, shared=0.9, group_share=0.1), 150),
)


@pytest.mark.slow
# Not what the collector finds here of another test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("cell", "runs"), SEEDED, ids=[cell.label for cell, _ in SEEDED])
def test_a_verdict_is_wrong_no_more_often_than_it_says(cell: Cell, runs: int) -> None:
    check(cell, simulate(cell, runs, seed=7, resamples=2000))


@pytest.mark.slow
def test_a_later_opening_honours_its_level() -> None:
    cell = Cell("binary", 150, EQUAL, opening=3)
    runs = 500
    tally = simulate(cell, runs, seed=7)
    assert tally.false_difference <= allowed(opening_alpha(0.05, 3), runs)


@pytest.mark.slow
def test_candidates_that_differ_are_told_apart() -> None:
    """The promises above would be kept by a verdict that never says anything."""
    clear = simulate(Cell("binary", 1000, (0.6, *EQUAL[1:])), 40, seed=7)
    assert clear.false_difference <= 5
    known = simulate(Cell("binary", 3000, THREE_WORSE, shared=0.9), 40, seed=7)
    assert known.right == 40
    grouped = simulate(Cell("fields", 2000, THREE_WORSE, groups=100, shared=0.9), 25, seed=7)
    assert grouped.right >= 20


@pytest.mark.parametrize(("truth", "n", "least"), [(LEAD_5, 200, 0.53), (LEAD_10, 100, 0.64)])
def test_a_clear_lead_is_shown_with_few_examples(
    truth: tuple[float, ...], n: int, least: float
) -> None:
    """Six candidates, the floor among them; `least` is the power that is promised."""
    runs = 300
    tally = simulate(Cell("binary", n, truth, shared=0.9, floor=True), runs, seed=7)
    assert tally.right >= runs * least
    assert tally.wrong <= allowed(FAMILY_WISE, runs)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_and_write_its_figures() -> None:
    for cell, tally, _ in soak(1000, 1000, STATISTICS):
        check(cell, tally)


def test_the_allowance_is_the_monte_carlo_error() -> None:
    assert stats.binom.cdf(allowed(0.05, 2000), 2000, 0.05) >= 0.999
    assert allowed(0.05, 2000) < 2000 * 0.067


def test_every_cell_of_the_page_has_a_name_of_its_own() -> None:
    assert len({name(cell) for cell in CELLS}) == len(CELLS)


def test_the_figures_for_programs_keep_what_is_promised() -> None:
    """Of six candidates without groups, which is what a program that reads the file can ask for."""
    found = json.loads(STATISTICS.with_suffix(".json").read_text("utf-8"))
    for lead, truth in ((5, LEAD_5), (10, LEAD_10)):
        power = {
            one["rows"]: one["right_recommendations"]
            for one in found["cells"]
            if (one["candidates"], one["lead"], one["groups"]) == (6, lead, None)
        }
        assert power.keys() == POWER[truth].keys()
        assert all(power[rows] >= least for rows, least in POWER[truth].items())
    tuned = [one["name"] for one in found["cells_with_fine_tuning"]]
    assert tuned == [name(cell).replace(" | ", ", ") for cell in CELLS if cell.tuned is not None]


@pytest.mark.soak
def test_the_studentised_bootstrap_covers_with_twelve_groups() -> None:
    cell = Cell("fields", 150, (0.7, 0.7), groups=12)
    assert interval_coverage(cell, 1000, seed=3)["studentised"] >= LEAST_COVERAGE - 0.02
