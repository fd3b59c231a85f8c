"""A program that compares fifty versions, none better than another, is not told that one is.

The seeded part runs in `make test`; `make soak` writes the table of docs/statistics.md. Judged at
the level of a first opening each time, nearly every such session ends with an "improvement".
"""

from __future__ import annotations

from statistics import fmean

import pytest
from tests.figures import soak_runs, write_block
from tests.invariants.program_simulation import COMPARISONS, Holdout, Session, run_sessions
from tests.invariants.verdict_simulation import allowed

LEVEL = 0.05


def fooled(sessions: list[Session]) -> int:
    """Sessions in which any version was called better than another."""
    return sum(one.better > 0 for one in sessions)


@pytest.mark.parametrize(("holdout", "sessions"), [(Holdout(300), 120), (Holdout(100), 60)])
def test_fifty_noise_improvements_are_called_none(holdout: Holdout, sessions: int) -> None:
    found = run_sessions(holdout, sessions)
    assert fooled(found) <= allowed(LEVEL, sessions)
    assert fmean(one.looked_better for one in found) > 1  # by scores, it would have believed some
    assert fmean(one.gained for one in found) > 0.02


def test_without_levels_by_openings_the_same_program_fools_itself() -> None:
    found = run_sessions(Holdout(300), 20, opening_of=lambda number: 1)
    assert fooled(found) > allowed(LEVEL, 20)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_programs_that_compare_again_and_again() -> None:
    lines = []
    for rows in (100, 300, 1000):
        sessions = soak_runs(1000)
        found = run_sessions(Holdout(rows), sessions)
        again = run_sessions(Holdout(rows), max(sessions // 10, 50), opening_of=lambda number: 1)
        assert fooled(found) <= allowed(LEVEL, sessions), (rows, fooled(found))
        lines.append(
            f"| {sessions} | {rows} | {100 * fooled(found) / sessions:.1f} % | "
            f"{100 * fooled(again) / len(again):.0f} % | "
            f"{fmean(one.looked_better for one in found):.1f} | "
            f"{100 * fmean(one.gained for one in found):.1f} points |"
        )
    head = (
        "| sessions | rows | told that one is better | the same at the first level each time | "
        f"of {COMPARISONS} versions scored higher than the one before | the last score is above "
        "the truth by |\n|---|---|---|---|---|---|"
    )
    note = f"{COMPARISONS} comparisons a session; a tenth of the sessions for the fourth column"
    write_block("programs", "\n".join([head, *lines]), note)
