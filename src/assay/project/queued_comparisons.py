"""The holdouts of comparisons that are jobs. They stay as they were locked while one waits, runs or
is paused, whichever process or server edits the examples meanwhile."""

from __future__ import annotations

from assay.jobs import queue
from assay.store.store import Store

COMPARE = "compare"
"""Kind of the jobs that compare."""
HOLDOUT = "holdout"
"""In the payload of such a job: what the holdout that it took was locked with."""


def taken_holdouts(store: Store, project: str) -> set[str]:
    """What the holdouts are locked with that a project's comparisons are going to open."""
    alive = (job for job in queue.jobs(store, project, (COMPARE,)) if job.status not in queue.OVER)
    return {job.payload[HOLDOUT] for job in alive if HOLDOUT in job.payload}
