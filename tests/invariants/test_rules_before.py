"""What five rules of a verdict bring: the same comparisons, judged with them and without.
`make soak` writes the tables of docs/statistics.md.

The rules: Gaffke's bound beside the bootstrap, a cluster jackknife beside it, the winner on
validation tested first, what is given up for a cheaper candidate, and who is used for now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from tests.figures import soak_runs, write_block
from tests.invariants.verdict_figures import UNEQUAL
from tests.invariants.verdict_simulation import (
    COLLAPSING,
    HIGH_LEAD,
    LEAD_5,
    LEAD_10,
    UNBROKEN,
    Cell,
    Tally,
    allowed,
    simulate,
)

from assay.compare.entries import Entry
from assay.compare.findings import Findings
from assay.evaluate.multiplicity import holm
from assay.evaluate.stats import group_sizes

LEAST = 0.05
AT_MARGIN = (0.68, 0.7)
GIVEN_UP = 0.05
CHEAPER = {
    "4 points behind": Cell("binary", 0, (0.66, 0.7), shared=0.9),
    "5 points behind": Cell("binary", 0, (0.65, 0.7), shared=0.9),
    "5 points behind, four others, one of them dearer and 2 behind": Cell(
        "binary", 0, (0.65, 0.62, 0.7, 0.68, 0.66, 0.3), shared=0.9, floor=True
    ),
    "5 points behind, scores of fields in 100 groups": Cell(
        "fields", 0, (0.65, 0.7), groups=100, shared=0.9
    ),
}
"""The first candidate is the cheapest, and so far behind the best; the numbers of rows vary."""
FOR_NOW = {
    "5 points ahead": Cell("binary", 0, LEAD_5, shared=0.9, floor=True),
    "5 points ahead, answers less alike": Cell("binary", 0, LEAD_5, floor=True),
    "10 points ahead": Cell("binary", 0, LEAD_10, shared=0.9, floor=True),
    "1 point ahead": Cell("binary", 0, (0.7, 0.69, 0.68, 0.71, 0.6, 0.3), floor=True),
    "3 points ahead, at 98 in 100": Cell("binary", 0, HIGH_LEAD, floor=True),
}
"""The cheaper a candidate is, the earlier it stands; the numbers of rows vary."""


@contextmanager
def bootstrap_alone() -> Iterator[None]:
    """Neither Gaffke's bound nor a jackknife counts, and groups count however uneven."""
    with (
        patch("assay.compare.pairs.Strictest", lambda bootstrap, *others: bootstrap),
        patch("assay.compare.pairs.two_sided_p", lambda second: np.float64(0)[None]),
        patch("assay.compare.verdict.effective_groups", lambda groups: len(group_sizes(groups))),
    ):
        yield


@contextmanager
def nobody_first() -> Iterator[None]:
    """Of each candidate the largest p against another counts, by Holm over all candidates."""

    def largest(p: np.ndarray, first: int | None) -> np.ndarray:
        others = ~np.eye(len(p), dtype=bool)
        return holm(np.where(others, p, 0.0).max(axis=1))

    with patch("assay.compare.findings.worse_than_best", largest):
        yield


@contextmanager
def within_one_standard_error() -> Iterator[None]:
    """For now the cheapest of those so near to the best is used (Breiman et al. 1984)."""

    def is_near(findings: Findings, entry: Entry, best: Entry) -> bool:
        pair = findings.pair(entry, best) if entry is not best else None
        return pair is None or pair.difference + pair.error >= -1e-9

    with patch("assay.compare.for_now._is_near", is_near):
        yield


def percent(before: int, now: int, runs: int) -> str:
    return f"{100 * before / runs:.1f} → {100 * now / runs:.1f} %"


def in_head(sizes: Sequence[int]) -> list[str]:
    return [f"n = {sizes[0]}", *(f"{n:,}" for n in sizes[1:])]


def write_rows(name: str, head: Sequence[str], rows: dict[str, list[str]], runs: int) -> None:
    columns = " | ".join(head)
    lines = [f"| {columns} |", "|---" * (columns.count("|") + 1) + "|"]
    lines += [f"| {title} | {' | '.join(figures)} |" for title, figures in rows.items()]
    write_block(name, "\n".join(lines), f"{runs:,} comparisons a figure, 2,000 resamples")


def collapses(worse: float, n: int, runs: int, groups: int | None = None) -> tuple[Tally, Tally]:
    """Two candidates, the first of them cheaper and of this score; before, and now."""
    cell = Cell("collapse", n, (worse, UNBROKEN), groups=groups)
    with bootstrap_alone():
        before = simulate(cell, runs, seed=1, resamples=2000)
    return before, simulate(cell, runs, seed=1, resamples=2000)


def unequal_groups(groups: int, largest: float, runs: int) -> tuple[Tally, Tally]:
    """Two candidates, the cheaper one worse by the margin; before, and now."""
    cell = Cell("binary", 1000, AT_MARGIN, groups=groups, shared=0.9, largest=largest)
    with bootstrap_alone():
        before = simulate(cell, runs, seed=1, resamples=2000)
    return before, simulate(cell, runs, seed=1, resamples=2000)


def cheaper(cell: Cell, n: int, runs: int) -> tuple[Tally, Tally]:
    """Without anything given up for a cheaper one, and with `GIVEN_UP`."""
    found = (replace(cell, n=n, margin_for_cheaper=most) for most in (None, GIVEN_UP))
    before, now = (simulate(one, runs, seed=1, resamples=2000) for one in found)
    return before, now


def for_now(cell: Cell, n: int, runs: int) -> tuple[Tally, Tally]:
    """Before, and now."""
    with within_one_standard_error():
        before = simulate(replace(cell, n=n), runs, seed=1)
    return before, simulate(replace(cell, n=n), runs, seed=1)


def test_the_rules_before_are_wrong_more_often() -> None:
    """Else the tables would compare a rule with itself."""
    runs = 100
    before, now = collapses(COLLAPSING[0], 60, runs)
    assert before.wrong > allowed(LEAST, runs) >= now.wrong
    before, now = collapses(COLLAPSING[0], 60, runs, groups=54)
    assert before.wrong > allowed(LEAST, runs) >= now.wrong
    before, now = unequal_groups(100, 0.5, runs)
    assert before.wrong > now.wrong == 0
    cell = Cell("binary", 100, LEAD_5, shared=0.9, floor=True)
    with nobody_first():
        before = simulate(cell, runs, seed=1)
    assert simulate(cell, runs, seed=1).right > before.right + 0.1 * runs
    before, now = cheaper(CHEAPER["4 points behind"], 3000, runs)
    assert before.cheapest <= allowed(LEAST, runs) < now.cheapest
    _, now = cheaper(CHEAPER["5 points behind"], 1000, runs)
    assert now.wrong <= allowed(LEAST, runs)
    before, now = for_now(FOR_NOW["5 points ahead"], 100, runs)
    assert before.losses == now.losses
    assert now.lost < 0.8 * before.lost


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_collapses() -> None:
    runs, sizes = soak_runs(400), (60, 100, 200)
    at_margin = [collapses(COLLAPSING[0], n, runs) for n in sizes]
    twins = [collapses(COLLAPSING[0], n, runs, groups=round(0.9 * n)) for n in sizes]
    clear = [collapses(UNBROKEN - 0.05, n, runs) for n in sizes]
    equal = [collapses(UNBROKEN, n, runs) for n in sizes]
    assert all(now.wrong <= allowed(LEAST, runs) for _, now in (*at_margin, *twins))
    rows = {
        "2.2 points worse by answers at 0, and cheaper: it was recommended": [
            percent(before.wrong, now.wrong, runs) for before, now in at_margin
        ],
        "… the better one was recommended": [
            percent(before.right, now.right, runs) for before, now in at_margin
        ],
        "… the worse one, where one row in five has a twin in its group": [
            percent(before.wrong, now.wrong, runs) for before, now in twins
        ],
        "… the better one, where one row in five has a twin": [
            percent(before.right, now.right, runs) for before, now in twins
        ],
        "5 points worse: the better one was recommended": [
            percent(before.right, now.right, runs) for before, now in clear
        ],
        "equal: one of them was recommended": [
            percent(before.right, now.right, runs) for before, now in equal
        ],
        "coverage of the difference, 2.2 points worse": [
            percent(before.pairs_covered, now.pairs_covered, runs) for before, now in at_margin
        ],
        "… where one row in five has a twin": [
            percent(before.pairs_covered, now.pairs_covered, runs) for before, now in twins
        ],
    }
    write_rows("collapses", ["jittery scores near 85, two candidates", *in_head(sizes)], rows, runs)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_unequal_groups() -> None:
    runs, rows = soak_runs(400), {}
    for groups, largest in UNEQUAL:
        before, now = unequal_groups(groups, largest, runs)
        assert now.wrong <= allowed(LEAST, runs), (groups, largest, now)
        assert now.pairs_covered >= 0.93 * runs, (groups, largest, now)
        effective = 1 / (largest**2 + (1 - largest) ** 2 / (groups - 1))
        rows[f"{groups}, one holds {100 * largest:.0f} %"] = [
            f"{effective:.1f}",
            percent(before.wrong, now.wrong, runs),
            percent(before.pairs_covered, now.pairs_covered, runs),
        ]
    head = ["groups", "effective", "the worse one recommended", "coverage of the difference"]
    write_rows("unequal groups", head, rows, runs)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_the_order() -> None:
    runs, sizes, rows = soak_runs(400), (50, 100, 200, 500, 1000), {}
    for lead, truth in ((5, LEAD_5), (10, LEAD_10)):
        cells = [Cell("binary", n, truth, shared=0.9, floor=True) for n in sizes]
        with nobody_first():
            before = [simulate(cell, runs, seed=1) for cell in cells]
        now = [simulate(cell, runs, seed=1) for cell in cells]
        assert all(one.wrong <= allowed(LEAST, runs) for one in now)
        for rule, found in (("before", before), ("winner on validation first", now)):
            rows[f"{lead} points | {rule}"] = [f"{100 * t.right / runs:.0f} %" for t in found]
    write_rows("order", ["lead | rule", *in_head(sizes)], rows, runs)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_what_is_given_up_for_a_cheaper_one() -> None:
    runs, sizes, rows = soak_runs(1000), (300, 1000, 3000), {}
    for title, cell in CHEAPER.items():
        found = [cheaper(cell, n, runs) for n in sizes]
        assert all(now.wrong <= allowed(LEAST, runs) for _, now in found), title
        rows[title] = [percent(before.cheapest, now.cheapest, runs) for before, now in found]
    head = ["the cheapest, which was recommended", *in_head(sizes)]
    write_rows("given up for a cheaper one", head, rows, runs)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_who_is_used_for_now() -> None:
    runs, sizes, rows = soak_runs(1000), (50, 100, 200), {}
    for title, cell in FOR_NOW.items():
        found = [for_now(cell, n, runs) for n in sizes]
        rows[title] = [
            f"{100 * before.lost / before.losses:.1f} → {100 * now.lost / now.losses:.1f} "
            f"(of {now.losses})"
            if now.losses
            else "–"
            for before, now in found
        ]
    head = ["the best", *in_head(sizes)]
    write_rows("for now", head, rows, runs)
