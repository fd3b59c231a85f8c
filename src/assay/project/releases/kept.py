"""What traces there are of a release, and how many of them are to be judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from assay.project.workspace import Workspace
from assay.release import policies, releases, traces


@dataclass(frozen=True, slots=True)
class KeptTraces:
    """The traces of a release.

    Attributes:
        count: kept now, from before or after it was switched off.
        active: new ones are kept, too.
        last_day: when the last of them is deleted; None where there is none.
        of_agent: of them answered by the agent that the release points at; `sampled`: of these in
            the random sample, which takes a `share` of new ones, 0 to 1.
    """

    count: int
    active: bool
    last_day: date | None
    of_agent: int
    sampled: int
    share: float


def count_kept(workspace: Workspace) -> int:
    """The traces of all releases that are kept now."""
    store, project = workspace.store, workspace.name
    names = [release.name for release in releases.releases(store, project)]
    return sum(traces.count_kept(store, project, name, None).traces for name in names)


def kept_traces(workspace: Workspace, name: str) -> KeptTraces:
    """How many traces a release has, how long, and how many of them are to be judged.

    Raises:
        ReleaseError: there is no such release.
    """
    store, project = workspace.store, workspace.name
    agent = releases.current(store, project, name).agent
    limits = policies.policy(store, project, name)
    every, mine = (traces.count_kept(store, project, name, one) for one in (None, agent))
    last = None
    if every.newest is not None and limits is not None:
        last = (every.newest + timedelta(days=limits.days)).date()
    return KeptTraces(
        count=every.traces,
        active=limits is not None and limits.active,
        last_day=last,
        of_agent=mine.traces,
        sampled=mine.sampled,
        share=policies.SAMPLE if limits is None else limits.sample,
    )
