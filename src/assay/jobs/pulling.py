"""Fetching a model as a job: minutes of downloading that nobody has to sit by."""

from __future__ import annotations

from typing import Any

from assay.jobs import queue
from assay.jobs.worker import Work
from assay.store.store import Store

PULL = "pull"


def enqueue(store: Store, project: str, model: str) -> str:
    """Queue the fetching of a model; returns the job's id."""
    return queue.enqueue(store, project, PULL, {"model": model}, id=queue.new_id("pull"))


def pull(work: Work) -> dict[str, Any]:
    """Fetch, check and keep the model of a job, see `assay.models.pull.pull`."""
    from assay.models.pull import pull as fetch

    model = work.payload["model"]
    return {"model": model, "folder": str(fetch(model, progress=work))}
