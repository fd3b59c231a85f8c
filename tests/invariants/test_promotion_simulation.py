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
from unittest.mock import patch

import numpy as np
import pytest
from tests.compare.yearly import yearly
from tests.figures import soak_runs, write_block
from tests.invariants.verdict_simulation import MARGIN, Cell, allowed, draw
from tests.release.shelf import as_result

from assay.compare.verdict import Decision, Entry, Terms, decide
from assay.evaluate.stats import Floats, opening_alpha
from assay.release.evidence import UnprovenError, judge

ALPHA = 0.05
AFTER = (1, 3, 5, 10)
"""Openings after which promotions are counted."""
PAIR = Cell("binary", 1000, (0.68, 0.7), shared=0.9)
"""A version, and the running one."""
ALPHA_EACH_TIME = Terms(margin=MARGIN, alpha=ALPHA * math.pi**2 / 6)
"""The whole of alpha is the level, as if there were no other opening."""


def compare(versions: Sequence[Floats], running: Floats, terms: Terms) -> Decision:
    """A comparison of these scores; versions are cheaper than the running one."""
    entries = [Entry(f"version-{i}", scores, **yearly(100.0)) for i, scores in enumerate(versions)]
    return decide([*entries, Entry("running", running, **yearly(200.0))], None, terms)


def is_promoted(versions: Sequence[Floats], running: Floats, terms: Terms) -> bool:
    """Whether a comparison of these scores lets any version take the running one's place."""
    decision = compare(versions, running, terms)
    agents = {one.name: one.name for one in decision.candidates}
    result = as_result(decision, agents, opening=terms.opening)
    for name in agents:
        if name != "running":
            with suppress(UnprovenError):
                judge([result], name, "running")
                return True
    return False


def is_within(version: Floats, running: Floats, terms: Terms) -> bool:
    """The rule before: the 95 % interval of the difference lies above the margin, at every
    opening."""
    [pair] = compare([version], running, terms).pairs
    return pair.low > -MARGIN


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
) -> tuple[list[int], list[int], list[int]]:
    """In how many of so many lives of a release a worse version was ever promoted, after each
    number of openings in AFTER: at the levels of the openings, at alpha each time, and by the rule
    before."""
    rng = np.random.default_rng([seed, *cell.label.encode()])
    at_level, at_alpha, within = np.zeros((3, runs, AFTER[-1]), dtype=bool)
    for run in range(runs):
        drawn = draw_openings(cell, rng, same_examples=same_examples)
        for i, (version, running) in enumerate(drawn):
            terms = Terms(margin=MARGIN, alpha=ALPHA, opening=i + 1)
            at_level[run, i] = is_promoted([version], running, terms)
            at_alpha[run, i] = is_promoted([version], running, ALPHA_EACH_TIME)
            within[run, i] = is_within(version, running, terms)
    levels, alphas, before = (
        [int(found[:, :after].any(axis=1).sum()) for after in AFTER]
        for found in (at_level, at_alpha, within)
    )
    return levels, alphas, before


def count_at_once(versions: int, runs: int, seed: int) -> tuple[int, int]:
    """In how many of so many first openings one of several versions was promoted, all of them
    worse by the margin: each pair by itself, and as it is."""
    terms = Terms(margin=MARGIN, alpha=ALPHA)
    cell = replace(PAIR, truth=(*[PAIR.truth[0]] * versions, PAIR.truth[1]))
    rng = np.random.default_rng(seed)
    alone = together = 0
    for _ in range(runs):
        *drawn, running = draw(cell, cell.n, rng)[0]
        together += is_promoted(drawn, running, terms)
        with patch("assay.release.evidence.ordered_holm", lambda p, first: p):
            alone += is_promoted(drawn, running, terms)
    return alone, together


@pytest.mark.slow
def test_comparing_again_and_again_promotes_no_worse_version() -> None:
    """With examples of its own each opening is a new chance, which is the less favourable way."""
    runs = 300
    at_level, at_alpha, _ = count_promotions(PAIR, runs, seed=7)
    assert max(at_level) <= allowed(ALPHA, runs), at_level
    assert at_alpha[-1] > allowed(ALPHA, runs), "the count would not see a level that is not spent"


@pytest.mark.slow
def test_comparing_many_versions_at_once_promotes_no_worse_one() -> None:
    runs = 300
    alone, together = count_at_once(5, runs, seed=7)
    assert together <= allowed(opening_alpha(ALPHA, 1), runs) < alone


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
        at_level, at_alpha, before = count_promotions(PAIR, runs, seed=1, same_examples=same)
        assert max(at_level) <= allowed(ALPHA, runs), at_level
        for rule, found in (
            ("of the opening", at_level),
            ("α each time", at_alpha),
            ("before: the 95 % interval", before),
        ):
            shares = " | ".join(f"{100 * count / runs:.1f} %" for count in found)
            lines.append(f"| {title} | {rule} | {shares} |")
    after = " | ".join(str(count) for count in AFTER[1:])
    head = f"| examples | level | {AFTER[0]} opening | {after} |\n" + "|---" * 6 + "|\n"
    error = 100 * (0.03 * 0.97 / runs) ** 0.5
    note = f"{runs:,} lives a row; one standard deviation of a rate of 3 % is {error:.1f} points"
    write_block("promotions", head + "\n".join(lines), note)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_promotions_at_once() -> None:
    runs, lines = soak_runs(1500), []
    for versions in (1, 3, 5):
        alone, together = count_at_once(versions, runs, seed=1)
        assert together <= allowed(opening_alpha(ALPHA, 1), runs), (versions, together)
        lines.append(f"| {versions} | {100 * alone / runs:.1f} % | {100 * together / runs:.1f} % |")
    head = "| versions | each pair by itself | all together |\n|---|---|---|\n"
    write_block("promotions at once", head + "\n".join(lines), f"{runs:,} first openings a row")
