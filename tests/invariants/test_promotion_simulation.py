"""A version that is worse does not take a release's place because it is compared again and again.

Versions are drawn that are truly worse than the running one by exactly the margin. Whether one may
take its place is asked of `release/evidence.py` itself, with the result of each comparison. The
seeded part runs in `make test`, `make soak` writes the table of docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from tests.compare.yearly import yearly
from tests.figures import soak_runs, write_block
from tests.invariants.verdict_simulation import MARGIN, Cell, allowed, draw
from tests.release.shelf import as_result

from assay.compare.verdict import Entry, Terms, decide
from assay.evaluate.stats import Floats, opening_alpha
from assay.release.evidence import UnprovenError, judge

ALPHA = 0.05
AFTER = (1, 3, 5, 10)
"""Openings after which promotions are counted."""
PAIR = Cell("binary", 1000, (0.68, 0.7), shared=0.9)
"""A version, and the running one."""
ALPHA_EACH_TIME = Terms(margin=MARGIN, alpha=ALPHA * math.pi**2 / 6)
"""The whole of alpha is the level, as if there were no other opening."""


def is_promoted(versions: Sequence[Floats], running: Floats, terms: Terms) -> bool:
    """Whether a comparison of these scores lets any version take the running one's place."""
    names = [f"version-{i}" for i in range(len(versions))]
    entries = [
        Entry(name, scores, **yearly(100.0)) for name, scores in zip(names, versions, strict=True)
    ]
    decision = decide([*entries, Entry("running", running, **yearly(200.0))], None, terms)
    agents = {name: name for name in (*names, "running")}
    result = as_result(decision, agents, opening=terms.opening)
    for name in names:
        with suppress(UnprovenError):
            judge([result], name, "running")
            return True
    return False


def draw_openings(
    cell: Cell, rng: np.random.Generator, *, same_examples: bool
) -> list[tuple[Floats, Floats]]:
    """Scores of a version and of the running one at each opening.

    Args:
        same_examples: all openings have the same examples, which the running one answers alike each
            time and every version anew; else each opening has examples of its own.
    """
    worse, better = cell.truth
    if same_examples:
        whole = replace(cell, truth=(*[worse] * AFTER[-1], better))
        *versions, running = draw(whole, cell.n, rng)[0]
        return [(version, running) for version in versions]
    return [tuple(draw(cell, cell.n, rng)[0]) for _ in range(AFTER[-1])]


def count_promotions(
    cell: Cell, runs: int, seed: int, *, same_examples: bool = False
) -> tuple[list[int], list[int]]:
    """In how many of so many lives of a release a worse version was ever promoted, after each
    number of openings in AFTER: at the levels of the openings, and at alpha each time."""
    rng = np.random.default_rng([seed, *cell.label.encode()])
    at_level, at_alpha = np.zeros((2, runs, AFTER[-1]), dtype=bool)
    for run in range(runs):
        drawn = draw_openings(cell, rng, same_examples=same_examples)
        for i, (version, running) in enumerate(drawn):
            terms = Terms(margin=MARGIN, alpha=ALPHA, opening=i + 1)
            at_level[run, i] = is_promoted([version], running, terms)
            at_alpha[run, i] = is_promoted([version], running, ALPHA_EACH_TIME)
    levels, alphas = (
        [int(found[:, :after].any(axis=1).sum()) for after in AFTER]
        for found in (at_level, at_alpha)
    )
    return levels, alphas


@pytest.mark.slow
def test_comparing_again_and_again_promotes_no_worse_version() -> None:
    """With examples of its own each opening is a new chance, which is the less favourable way."""
    runs = 300
    at_level, at_alpha = count_promotions(PAIR, runs, seed=7)
    assert max(at_level) <= allowed(ALPHA, runs), at_level
    assert at_alpha[-1] > allowed(ALPHA, runs), "the count would not see a level that is not spent"


@pytest.mark.slow
def test_comparing_many_versions_at_once_promotes_no_worse_one() -> None:
    """Five that are all worse by the margin, in a first opening."""
    runs, terms = 300, Terms(margin=MARGIN, alpha=ALPHA)
    cell = replace(PAIR, truth=(*[PAIR.truth[0]] * 5, PAIR.truth[1]))
    rng = np.random.default_rng(7)
    promoted = 0
    for _ in range(runs):
        *versions, running = draw(cell, cell.n, rng)[0]
        promoted += is_promoted(versions, running, terms)
    assert promoted <= allowed(opening_alpha(ALPHA, 1), runs)


def test_a_better_version_is_promoted() -> None:
    """The promise above would be kept by a rule that promotes nothing."""
    rng = np.random.default_rng(7)
    cell = replace(PAIR, truth=(0.75, 0.7))
    drawn = draw_openings(cell, rng, same_examples=False)
    third = Terms(margin=MARGIN, alpha=ALPHA, opening=3)
    assert all(is_promoted([version], running, third) for version, running in drawn)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_promotions() -> None:
    runs, lines = soak_runs(1000), []
    for title, same in (("of their own", False), ("the same each time", True)):
        at_level, at_alpha = count_promotions(PAIR, runs, seed=1, same_examples=same)
        assert max(at_level) <= allowed(ALPHA, runs), at_level
        for rule, found in (("of the opening", at_level), ("α each time", at_alpha)):
            shares = " | ".join(f"{100 * count / runs:.1f} %" for count in found)
            lines.append(f"| {title} | {rule} | {shares} |")
    after = " | ".join(str(count) for count in AFTER[1:])
    head = f"| examples | level | {AFTER[0]} opening | {after} |\n" + "|---" * 6 + "|\n"
    error = 100 * (0.03 * 0.97 / runs) ** 0.5
    note = f"{runs:,} lives a row; one standard deviation of a rate of 3 % is {error:.1f} points"
    write_block("promotions", head + "\n".join(lines), note)
