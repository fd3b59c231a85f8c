"""A program that compares fifty versions, none better than another, is not told that one is.

The seeded part runs in `make test`; `make soak` writes the table of docs/statistics.md. Judged at
the level of a first opening each time, nearly every such session ends with an "improvement".
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from tests.compare.sample import sample_result
from tests.figures import soak_runs, write_block
from tests.invariants.program_simulation import COMPARISONS, Holdout, Session, run_sessions
from tests.invariants.verdict_simulation import allowed
from tests.small import small_project

import assay
from assay.compare import records
from assay.compare.holdout import OpeningRequest, _log, next_opening, openings
from assay.compare.result import Result
from assay.errors import HoldoutError
from assay.store.store import Store

LEVEL = 0.05


def fooled(sessions: list[Session]) -> int:
    """Sessions in which any version was called better than another."""
    return sum(one.better > 0 for one in sessions)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """Of so many openings, as plans and log have them."""
    folder, holdout = tmp_path_factory.mktemp("log"), "d" * 64
    store, plan = Store(folder / "state"), sample_result().plan
    for one in map(str, range(COMPARISONS)):
        written = plan.model_copy(update={"opening": next_opening(store, holdout, one)})
        records.save_plan(store, one, holdout, written, folder / one)
        _log(store, holdout, one, OpeningRequest("a change", "mcp: x"), LEVEL)
    log = openings(store, holdout)
    assert [load_number(store, one.comparison) for one in log] == [one.number for one in log]
    return [one.number for one in log]


def load_number(store: Store, comparison: str) -> int:
    plan = records.load_plan(store, comparison)
    assert plan is not None
    return plan.opening


@pytest.mark.parametrize(("holdout", "sessions"), [(Holdout(300), 120), (Holdout(100), 60)])
def test_fifty_noise_improvements_are_called_none(
    holdout: Holdout, sessions: int, numbers: list[int]
) -> None:
    found = run_sessions(holdout, sessions, lambda nth: numbers[nth - 1])
    assert fooled(found) <= allowed(LEVEL, sessions)
    # Twice the level would go unnoticed among so few sessions.
    assert all(0.9 * LEVEL < one.spent <= LEVEL for one in found)
    assert fmean(one.looked_better for one in found) > 1  # by scores, it would have believed some
    assert fmean(one.gained for one in found) > 0.02


def test_without_levels_by_openings_the_same_program_fools_itself() -> None:
    found = run_sessions(Holdout(300), 20, opening_of=lambda number: 1)
    assert fooled(found) > allowed(LEVEL, 20)


@pytest.mark.slow
def test_real_comparisons_of_a_program_are_judged_at_the_levels_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a plan and its opening others open, and a plan may outlive a refusal."""
    root = small_project(tmp_path).root
    text = (root / "assay.yaml").read_text()
    found: list[Result] = []

    def compare(candidate: str, who: str, most: int = 5) -> None:
        chosen = f"candidates: [{candidate}]\nbaselines: false\nmcp: {{openings: {most}}}\n"
        edited = re.sub(r"^candidates:.*?(?=^\S)", chosen, text, flags=re.DOTALL | re.MULTILINE)
        (root / "assay.yaml").write_text(edited)
        found.append(assay.open(root).compare(reason="a change", who=who).result)

    with pytest.raises(HoldoutError, match="does not allow programs"):
        compare("baseline-tfidf", "mcp: x", most=0)
    compare("baseline-majority", "cli:ann")
    compare("baseline-tfidf", "mcp: x")
    save_plan = records.save_plan

    def open_first(*given: Any) -> Any:
        plan = save_plan(*given)
        monkeypatch.undo()
        compare("baseline-majority, baseline-tfidf", "cli:ann")
        return plan

    monkeypatch.setattr(records, "save_plan", open_first)
    compare("baseline-tfidf, baseline-majority, nearest-answer", "mcp: x")
    log = {one.comparison: (one.number, one.alpha) for one in assay.open(root).openings()}
    judged = {one.comparison: (one.plan.opening, one.plan.level) for one in found}
    assert judged == log
    assert judged == {one.comparison: (one.opening.number, one.opening.alpha) for one in found}
    assert [one.opening.number for one in found] == [1, 2, 3, 4]
    assert sum(level for _, level in judged.values()) <= LEVEL


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
