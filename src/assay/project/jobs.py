"""Long work of a folder as its owner sees it: every job of every project, and what to do to one."""

from __future__ import annotations

from typing import Any

from assay.jobs import queue
from assay.jobs.queue import Job, JobEvent
from assay.project.access import local_user
from assay.project.workspace import Workspace
from assay.store.audit import audit


def cancel(workspace: Workspace, id: str) -> Job:
    """End it; a running one after the step at hand.

    Raises:
        NotFoundError: there is no such job.
        StateError: it is over.
    """
    return _noted(workspace, "job.cancel", queue.ask(workspace.store, id, "cancel"))


def pause(workspace: Workspace, id: str) -> Job:
    """Stop it after the step at hand, to be resumed.

    Raises:
        NotFoundError: there is no such job.
        StateError: it is over.
    """
    return _noted(workspace, "job.pause", queue.ask(workspace.store, id, "pause"))


def resume(workspace: Workspace, id: str) -> Job:
    """Queue a paused job again.

    Raises:
        NotFoundError: there is no such job.
        StateError: it is not paused.
    """
    return _noted(workspace, "job.resume", queue.resume(workspace.store, id))


def as_dict(job: Job) -> dict[str, Any]:
    """JSON-ready."""
    return {
        "id": job.id,
        "project": job.project,
        "kind": job.kind,
        "status": job.status,
        "wish": job.wish,
        "worker": job.worker,
        "progress": job.progress,
        "result": job.result,
        "error": job.error,
        "created": job.created.isoformat(),
        "started": job.started.isoformat() if job.started else None,
        "ended": job.ended.isoformat() if job.ended else None,
    }


def event_as_dict(event: JobEvent) -> dict[str, Any]:
    """JSON-ready."""
    return {
        "at": event.at.isoformat(),
        "kind": event.kind,
        "message": event.message,
        "data": event.data,
    }


def _noted(workspace: Workspace, action: str, job: Job) -> Job:
    audit(workspace.store, job.project, local_user(), action, job.id)
    return job
