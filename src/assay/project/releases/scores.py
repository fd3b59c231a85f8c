"""What an agent that is served scored when it was promoted, and what it scores in the newest
comparison: the two may differ, being measured on other examples or other documents."""

from __future__ import annotations

from dataclasses import dataclass

from assay.compare.records import load_result, load_results
from assay.compare.report import wording
from assay.compare.result import Result
from assay.project.workspace import Workspace


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
