"""Traces of other programs as work of a server: which jobs they are of, and a project of one.

job = find_jobs(workspace)                     # among the traces in imported-traces of the folder
job = start_project(workspace, "3fa1c0d2e4b5", "desks")   # into trace-projects/desks
state = read_traces(workspace)                 # what has come of them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from assay import json_reader
from assay.config.names import check_project_name
from assay.defaults import IMPORTED_TRACES, TRACE_PROJECTS
from assay.errors import UsageError
from assay.jobs import queue
from assay.jobs.queue import OVER, Job
from assay.jobs.worker import Work
from assay.project import imported
from assay.project.imported import JobFiles
from assay.project.jobs.queueing import enqueue_once
from assay.project.workspace import Workspace
from assay.release.imported.folder import FOUND, TraceFolder
from assay.store.files import write_atomic
from assay.store.tables import now

FIND, MAKE = "trace-jobs", "trace-project"
"""Kinds of the jobs."""
SHOWN = 50
"""Jobs that are kept to be shown, those with the most calls; `assay traces jobs` shows all."""
_LONGEST = 1000
"""Characters of a prompt that are kept to be shown."""


@dataclass(frozen=True, slots=True)
class TraceState:
    """What is known of the traces of a folder.

    Attributes:
        bytes: that they take; 0: there are none.
        found: what the newest search has found: `at`, `bytes`, `traces`, `count`, and `jobs`, each
            as `Job.to_dict` with its `notes`; None: there was none.
        job: the one that waits or runs, else the newest; None: there was none.
        made: what was made of jobs, by their ids; the newest.
    """

    bytes: int
    found: dict[str, Any] | None
    job: Job | None
    made: dict[str, JobFiles]

    @property
    def is_busy(self) -> bool:
        """Whether a job waits or runs."""
        return self.job is not None and self.job.status not in OVER


def read_traces(workspace: Workspace) -> TraceState:
    """What is there, and what was found and made."""
    every = queue.jobs(workspace.store, workspace.name, WORKS)
    made: dict[str, JobFiles] = {}
    for job in every:
        if job.kind == MAKE and job.result:
            made.setdefault(job.payload["job"], JobFiles(**job.result))
    return TraceState(
        bytes=TraceFolder(workspace.root / IMPORTED_TRACES).size,
        found=_read_found(workspace, every),
        job=next((job for job in every if job.status not in OVER), every[0] if every else None),
        made=made,
    )


def _read_found(workspace: Workspace, every: Sequence[Job]) -> dict[str, Any] | None:
    found = next((job.result for job in every if job.kind == FIND and job.result), None)
    if found is None:
        return None
    try:
        shown = json_reader.read((workspace.root / IMPORTED_TRACES / FOUND).read_bytes())
    except (OSError, ValueError):  # the owner has deleted the traces
        return None
    return {**found, "jobs": shown}


def find_jobs(workspace: Workspace) -> Job:
    """Queue the search for jobs; raises StateError where it waits or runs already."""
    return enqueue_once(workspace, FIND, "the search for jobs", {}, action="traces.jobs")


def start_project(workspace: Workspace, job: str, name: str) -> Job:
    """Queue the making of a project of a job, see `imported.make_project`.

    Raises:
        UsageError: the name cannot be a project's, or there is a folder of that name.
        QuotaError: the project of the server has all that it may have of the disk.
        StateError: another is being made.
    """
    check_project_name(name)
    if (workspace.root / TRACE_PROJECTS / name).exists():
        raise UsageError(f"{TRACE_PROJECTS}/{name} already exists.", fix="Choose another name.")
    workspace.quota.check(workspace.name, 1)  # what it will make has no size yet
    found = read_traces(workspace).found  # what has come since may change the ids of jobs
    payload = {"job": job, "name": name, "bytes": found["bytes"] if found else None}
    return enqueue_once(
        workspace, MAKE, "the making of a project", payload, action="traces.project"
    )


def _find(workspace: Workspace, work: Work) -> dict[str, Any]:
    folder = workspace.root / IMPORTED_TRACES
    size = TraceFolder(folder).size
    jobs = imported.list_jobs(folder, workspace.providers, work, until=size)
    shown = []
    for job in jobs[:SHOWN]:
        row = {**job.to_dict(), "notes": job.notes()}
        shown.append(row | {name: row[name][:_LONGEST] for name in ("system", "input")})
    # Texts of users: beside the traces, so that they go with them, not in the database.
    write_atomic(folder / FOUND, json.dumps(shown), private=True)
    return {
        "at": now().isoformat(),
        "bytes": size,
        "traces": sum(job.calls for job in jobs),
        "count": len(jobs),
    }


def _make(workspace: Workspace, work: Work) -> dict[str, Any]:
    source, projects = workspace.root / IMPORTED_TRACES, workspace.root / TRACE_PROJECTS
    projects.mkdir(exist_ok=True, mode=0o700)
    name, job = work.payload["name"], work.payload["job"]
    until = work.payload.get("bytes")
    to = projects / name
    made = imported.make_project(source, [job], to, until=until, work=work.job.id, progress=work)
    return asdict(made)


WORKS: dict[str, Callable[[Workspace, Work], dict[str, Any]]] = {FIND: _find, MAKE: _make}
