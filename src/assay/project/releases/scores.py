"""What an agent that is served scored when it was promoted, and what it and others score in the
newest comparison: the two may differ, being measured on other examples or other documents."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select

from assay.agent.versions import find_version
from assay.compare.records import load_result, load_results
from assay.compare.report import wording
from assay.compare.result import Result
from assay.project.workspace import Workspace
from assay.store.tables import ComparisonRow


@dataclass(frozen=True, slots=True)
class AgentScores:
    """Scores of one agent, each None where it was not measured.

    Attributes:
        promoted: in the comparison that it was promoted on.
        newest: in the newest comparison.
        has_newer: the newest comparison is not the one that it was promoted on.
        graders: that decided then and now, where they are not the same.
    """

    promoted: float | None
    newest: float | None
    has_newer: bool
    graders: tuple[str, str] | None = None

    @property
    def phrase(self) -> str:
        """Such as "100.0 of 100 when it was promoted, 77.8 in the newest comparison"; "" of an
        agent that was never measured."""
        if self.promoted is None:
            if self.newest is None:
                return ""
            return f"{wording.in_100(self.newest)} of 100 in the newest comparison"
        then = f"{wording.in_100(self.promoted)} of 100"
        if not self.has_newer:
            return then
        if self.newest is None:
            return f"{then} when it was promoted; the newest comparison did not measure it"
        now = wording.in_100(self.newest)
        if self.graders is not None:
            then, now = f"{then} by {self.graders[0]}", f"{now} by {self.graders[1]}"
        return f"{then} when it was promoted, {now} in the newest comparison"


def find_scores(workspace: Workspace, agent: str, comparison: str | None) -> AgentScores:
    """The scores of an agent (id) that was promoted on a comparison (id; None: on none)."""
    then = load_result(workspace.store, comparison) if comparison else None
    now = next(load_results(workspace.store), None)
    graders = None
    if then is not None and now is not None and then.primary != now.primary:
        graders = then.primary, now.primary
    return AgentScores(
        _score(then, agent),
        _score(now, agent),
        now is not None and now.comparison != comparison,
        graders,
    )


def _score(result: Result | None, agent: str) -> float | None:
    found = result.candidates if result is not None else ()
    return next((one.score for one in found if one.agent == agent), None)


@dataclass(frozen=True, slots=True)
class LatestScore:
    """An agent's score in the newest comparison that measured it.

    Attributes:
        age: how many comparisons are newer, whose scores may be of another holdout.
    """

    score: float
    age: int


def find_latest_scores(workspace: Workspace, agents: Collection[str]) -> dict[str, LatestScore]:
    """Each agent's latest score by `NAME@VERSION`, newest comparisons first and in each the best.

    Args:
        agents: as `NAME@VERSION`.
    """
    wanted: dict[str, list[str]] = {}
    for label in agents:
        wanted.setdefault(find_version(workspace.store, label).agent, []).append(label)
    query = (
        select(ComparisonRow.result["candidates"])
        .where(ComparisonRow.result.is_not(None))
        .order_by(ComparisonRow.at.desc(), ComparisonRow.id)
    )
    found: dict[str, LatestScore] = {}
    with workspace.store.session() as session:
        rows = session.scalars(query.execution_options(yield_per=10))
        for age, candidates in enumerate(rows):
            measured = [one for one in candidates or () if one["score"] is not None]
            for one in sorted(measured, key=lambda one: -one["score"]):
                for label in wanted.get(one["agent"], ()):
                    found.setdefault(label, LatestScore(one["score"], age))
            if len(found) == len(set(agents)):
                break
    return found
