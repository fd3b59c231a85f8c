"""Jobs that an owner asks for: the same one waits or runs once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.errors import StateError, Step
from assay.jobs import queue
from assay.jobs.queue import OVER, Job
from assay.project.workspace import Workspace
from assay.store.audit import audit

LOCK = "queueing.lock"
"""In the state folder: of two that ask at the same moment, the second finds the first's job."""


def refuse_second(
    workspace: Workspace, kind: str, what: str, payload: Mapping[str, Any] | None = None
) -> None:
    """See that no job of a kind waits or runs.

    Args:
        what: it is, at the beginning of a sentence.
        payload: of jobs that count; None: all do.

    Raises:
        StateError: one does.
    """
    for job in queue.jobs(workspace.store, workspace.name, (kind,)):
        if job.status not in OVER and (payload is None or job.payload == payload):
            raise StateError(
                f"{what} is already {job.status}.",
                fix=f"Wait until it ends, or cancel it: {Step.LIST_JOBS} lists it.",
            )


def enqueue_once(
    workspace: Workspace,
    kind: str,
    what: str,
    payload: dict[str, Any],
    *,
    action: str,
    per_payload: bool = False,
    id: str | None = None,
) -> Job:
    """Queue a job that waits or runs once.

    Args:
        what: see `refuse_second`.
        action: its name in the audit log.
        per_payload: jobs of the kind with another payload do not count.
        id: one from `queue.new_id` where it must be known before.

    Raises:
        StateError: it waits or runs already.
    """
    store = workspace.store
    with store.lock(LOCK):
        refuse_second(workspace, kind, what, payload if per_payload else None)
        id = queue.enqueue(store, workspace.name, kind, payload, id=id or queue.new_id(kind))
    audit(store, workspace.name, workspace.who, action, id, payload)
    return queue.read(store, id)
