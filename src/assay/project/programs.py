"""What a program may ask for by itself, such as a coding agent by way of MCP: comparisons, within
the openings of the holdout that the owner of the project allows (`mcp` in assay.yaml).

    count_openings(workspace)                      # how many, by whom, how many are left
    job = start_comparison(workspace.act_as(f"{PROGRAM} stdio of ann"), reason="a shorter prompt")

Nothing here changes the limit. Promotions are proposed, see `assay.project.releases.proposals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from assay.agent.versions import find_version
from assay.compare.holdout import (
    PROGRAM,
    LoggedOpening,
    check_limit,
    is_program,
    openings_by_programs,
)
from assay.compare.planning import ALPHA
from assay.compare.records import load_result
from assay.errors import StateError
from assay.evaluate.stats import opening_alpha
from assay.jobs.queue import Job
from assay.project import jobs
from assay.project.comparisons import changes
from assay.project.workspace import Workspace, project_of


@dataclass(frozen=True, slots=True)
class OpeningCount:
    """The log of the present holdout, and what it leaves.

    Attributes:
        by_programs: how many of the log programs have asked for.
        most: of these that the owner allows.
        next_level: at which the verdict of the next opening would be reached.
    """

    log: tuple[LoggedOpening, ...]
    by_programs: int
    most: int
    next_level: float

    @property
    def left(self) -> int:
        """Openings that programs may still ask for."""
        return max(0, self.most - self.by_programs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `left` stands in it, too."""
        log = [one.model_dump() for one in self.log]
        return {**asdict(replace(self, log=())), "log": log, "left": self.left}


def count_openings(workspace: Workspace) -> OpeningCount:
    """How often the present holdout was opened, and by whom."""
    project = project_of(workspace)
    log = tuple(project.openings())
    return OpeningCount(
        log=log,
        by_programs=openings_by_programs(log),
        most=project.config.mcp.openings,
        next_level=opening_alpha(ALPHA, len(log) + 1),
    )


def start_comparison(workspace: Workspace, *, agents: Sequence[str] = (), reason: str) -> Job:
    """Queue a comparison that a program asks for, see `assay.project.jobs.compare`.

    It is refused here before hours are spent on candidates, unless the newest of programs is
    unfinished and could be this one; the log has the last word when the holdout is opened.

    Raises:
        AssayError: there is no such agent.
        HoldoutError: programs have opened the holdout as often as they may.
        StateError: nothing has changed since the newest comparison, or one waits or runs already.
    """
    for label in agents:
        find_version(workspace.store, label)
    found = count_openings(workspace)
    unfinished = _has_unfinished(workspace, found.log)
    if not unfinished:
        check_limit(found.log, None, found.most)
    if not agents and not unfinished and changes(workspace).opening is None:
        raise StateError(
            "nothing has changed since the newest comparison, so there is nothing to find out.",
            fix="Read its verdict, or name agents that were saved since.",
        )
    return jobs.compare(workspace, agents=agents, reason=reason)


def _has_unfinished(workspace: Workspace, log: Sequence[LoggedOpening]) -> bool:
    """Whether the newest opening by a program has no result yet, or one that lacks answers: asking
    for the same comparison again opens nothing."""
    asked = [one.comparison for one in log if is_program(one.who)]
    result = load_result(workspace.store, asked[-1]) if asked else None
    lacking = result is None or any(one.status == "incomplete" for one in result.candidates)
    return bool(asked) and lacking


__all__ = ["PROGRAM", "OpeningCount", "count_openings", "start_comparison"]
