"""Jobs that an owner asks for: the same one waits or runs once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.errors import StateError
from assay.jobs import queue
from assay.jobs.queue import OVER
from assay.project.workspace import Workspace


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
    for job in queue.jobs(workspace.store, workspace.name):
        same = payload is None or job.payload == payload
        if job.kind == kind and job.status not in OVER and same:
            raise StateError(
                f"{what} is {job.status} already ({job.id}).", fix="Wait for it, or cancel it."
            )
