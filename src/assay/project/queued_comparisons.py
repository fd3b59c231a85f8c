"""The holdouts of comparisons that are jobs. They stay as they were locked while one waits, runs or
is paused, whichever process or server edits the examples meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from assay.compare.holdout import LoggedOpening
from assay.jobs import queue
from assay.jobs.queue import Job
from assay.store.store import Store, owner_of

COMPARE = "compare"
"""Kind of the jobs that compare."""
HOLDOUT = "holdout"
"""In the payload of such a job: what the holdout that it took was locked with."""


def taken_holdouts(store: Store, project: str) -> set[str]:
    """What the holdouts are locked with that a project's comparisons are going to open."""
    alive = _list_alive(store, project)
    return {job.payload[HOLDOUT] for job in alive if HOLDOUT in job.payload}


def describe_alive(store: Store, root: Path) -> str | None:
    """That a comparison of a folder waits or runs, for whoever starts one beside it."""
    for job in _list_alive(store, owner_of(store, root)):
        return (
            f"A comparison of this project is {job.status} already ({job.id}). This one runs "
            "beside it, and opens the holdout once more where it differs: each later opening "
            "has to show a larger difference. Until “Plan written”, Ctrl-C stops this one "
            "without an opening."
        )
    return None


def may_open(store: Store, project: str, log: Iterable[LoggedOpening]) -> bool:
    """Whether a project's comparison that is not over may still open the holdout: one that has done
    so since it began goes on in that opening.

    Args:
        log: of the present holdout.
    """
    opened = [datetime.fromisoformat(one.at) for one in log]
    return any(
        job.started is None or all(at < job.started for at in opened)
        for job in _list_alive(store, project)
    )


def _list_alive(store: Store, project: str) -> list[Job]:
    """The comparisons of a project that are not over."""
    found = queue.jobs(store, project, (COMPARE,))
    return [job for job in found if job.status not in queue.OVER]
