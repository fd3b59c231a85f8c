"""Long work of a folder as its owner sees it: every job of every project, and what to do to one.

A comparison can be a job, too: `compare` queues it, a worker of the folder does it. So can
trainings, searches and learning curves: `assay.project.jobs.training`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from assay.data.split import SplitManifest
from assay.errors import DataError, StateError, UsageError
from assay.jobs import queue, service
from assay.jobs.batches import BATCH
from assay.jobs.batches import read as read_batch
from assay.jobs.batches import stop as stop_batch
from assay.jobs.events import JobEvent, read_events
from assay.jobs.fine_tuning import Wish
from assay.jobs.queue import Job, JobLostError
from assay.jobs.worker import Handler, Work
from assay.progress import SILENT, Progress, format_duration
from assay.project import begun_copies
from assay.project.comparison import Comparison
from assay.project.fingerprint import basis, describe_changes, fingerprint_of
from assay.project.forecast import Forecast, left_of, measure_pace
from assay.project.jobs import begun, export, imported_traces, measuring, rescue, training, watching
from assay.project.jobs.begun import BegunProject
from assay.project.jobs.queueing import enqueue_once, refuse_second
from assay.project.queued_comparisons import COMPARE as COMPARE
from assay.project.queued_comparisons import HOLDOUT
from assay.project.workspace import Workspace, project_of
from assay.store.audit import audit

_ON_A_SPLIT = {
    COMPARE: "a comparison",
    training.TRAIN: "a training",
    training.SWEEP: "a search",
    training.CURVE: "a learning curve",
    measuring.MEASURE: "a try of an agent",
}
"""Kinds of jobs that work on a split, and what they are."""


def compare(
    workspace: Workspace,
    *,
    agents: Sequence[str] = (),
    reason: str = "a comparison",
    agreed: str | None = None,
) -> Job:
    """Queue a comparison of the folder's project.

    Args:
        agents, reason: as of `Project.compare`.
        agreed: `assay.project.fingerprint` of what somebody was asked about; where it is another by
            the time a worker takes the job, the job fails and the holdout is not opened. None:
            whatever is there then is compared. Examples and settings are copied now (a worker of
            another machine copies them when it takes the job): what is edited later counts from
            the next one, also where this one waits or is paused meanwhile.

    Raises:
        UsageError: the folder is no project.
        StateError: one waits or runs already.
        DataError, HoldoutError: the examples cannot be divided.
    """
    project_of(workspace)
    payload: dict[str, Any] = {"agents": list(agents), "reason": reason, "who": workspace.who}
    if agreed is not None:
        payload["agreed"] = agreed
    what, id = _ON_A_SPLIT[COMPARE], queue.new_id(COMPARE)
    refuse_second(workspace, COMPARE, what)
    try:
        began = begun.begin(workspace, id, agents)
        payload[HOLDOUT] = began.split().holdout_sha256
        began.note_basis(basis(workspace, began))
        return enqueue_once(workspace, COMPARE, what, payload, action="job.compare", id=id)
    except BaseException:
        begun_copies.end(workspace, id)
        raise


def renew_holdout(
    workspace: Workspace, name: str, file: Path, progress: Progress = SILENT
) -> SplitManifest:
    """Lock a new holdout that somebody has brought, see `Project.renew_holdout`.

    Args:
        name: what the file's owner calls it.

    Raises:
        StateError: work on the present one is not over.
        DataError: the file cannot be used.
    """
    project = project_of(workspace)
    for kind, what in _ON_A_SPLIT.items():
        refuse_second(workspace, kind, what)
    project.split(progress)
    try:
        manifest = project.renew_holdout(file, progress)
    except DataError as error:
        error.calling(str(file), name)
        raise
    details = {"rows": manifest.holdout, "generation": manifest.generation}
    store, action = workspace.store, "data.renew-holdout"
    audit(store, workspace.name, workspace.who, action, name[:200], details)
    return manifest


def work(
    workspace: Workspace,
    kinds: Collection[str] | None = None,
    without: Collection[str] | None = None,
    *,
    job: str | None = None,
    watched: bool = False,
) -> None:
    """Do the folder's jobs until SIGINT or SIGTERM comes, see `assay.jobs.service.work`.

    Args:
        without: kinds of jobs that are left to other workers.

    Raises:
        UsageError: there are no jobs of such a kind.
    """
    known = (*service.KINDS, *handlers(workspace))
    unknown = sorted({*(kinds or ()), *(without or ())} - set(known))
    if unknown:
        raise UsageError(f"{unknown[0]!r} is not a kind of job.", fix=f"Kinds: {', '.join(known)}.")
    taken = {*(kinds or known)} - {*(without or ())}
    if not taken:
        raise UsageError("no kind of job is left to do.", fix="Name fewer with --except.")
    service.recover(workspace.store)  # first: what it finds to be over is let go
    begun_copies.remove_left(workspace)
    service.work(workspace.store, taken, job=job, watched=watched, further=handlers(workspace))


def handlers(workspace: Workspace) -> dict[str, Handler]:
    """By kind, how jobs are done that need the project."""
    works: dict[str, Callable[[Workspace, Work], Any]] = {
        COMPARE: _compare,
        export.EXPORT: export.work,
        measuring.MEASURE: measuring.work,
        **training.WORKS,
        **rescue.WORKS,
        **imported_traces.WORKS,
        service.WATCH: watching.work,
    }
    return {kind: partial(work, workspace) for kind, work in works.items()}


def _compare(workspace: Workspace, work: Work) -> dict[str, Any]:
    try:
        done = _compare_begun(workspace, work)
    except JobLostError:
        raise  # another worker goes on with what it began with
    except KeyboardInterrupt:
        if work.wish == "cancel":
            begun_copies.end(workspace, work.job.id)
        raise
    except Exception:
        begun_copies.end(workspace, work.job.id)
        raise
    begun_copies.end(workspace, work.job.id)
    return {"comparison": done.result.comparison, "outcome": done.verdict.outcome}


def _compare_begun(workspace: Workspace, work: Work) -> Comparison:
    payload = work.payload
    project = begun.begin(workspace, work.job.id, payload["agents"])
    told = left_of(project.estimate(pace=measure_pace()), work.share)
    left = " left, for what is done is kept" if work.share else ""
    work.say(f"About {format_duration(told.seconds)}{left}, as fast as this machine is now.")
    agreed = payload.get("agreed")
    if agreed is not None and fingerprint_of(now := basis(workspace, project)) != agreed:
        raise _changed(work.job, project, now)
    return project.compare(
        agents=payload["agents"],
        reason=payload["reason"],
        who=payload.get("who") or workspace.who,  # not in older jobs
        progress=Forecast(work, told),
    )


def _changed(job: Job, project: BegunProject, now: dict[str, Any]) -> StateError:
    """The error of a comparison that would be another one than was agreed to."""
    before = project.read_basis()
    what = "" if before is None else describe_changes(before, now)
    what = what or "documents, examples, settings or the version of Assay were changed"
    opened = [one for one in project.openings() if datetime.fromisoformat(one.at) >= job.created]
    kept = "It had already opened the holdout." if opened else "The holdout was not opened."
    return StateError(
        f"{what} after this comparison was requested, so it has ended. {kept}",
        fix="Compare again to compare as it is now; where Assay was updated, restart the server "
        "first.",
    )


def list_jobs(workspace: Workspace, *kinds: str) -> list[Job]:
    """Jobs of the workspace's project, the newest first; of some kinds, or all."""
    return queue.jobs(workspace.store, workspace.name, kinds)


def look(workspace: Workspace, id: str, after: int = 0) -> tuple[Job, list[JobEvent]]:
    """A job as it stands, and its events behind `after` (a key).

    Raises:
        NotFoundError: there is no such job.
    """
    job = queue.read(workspace.store, id)  # before its events: what it did last is among them
    return job, list(read_events(workspace.store, id, after=after))


def ask(workspace: Workspace, id: str, wish: Wish) -> Job:
    """Cancel a job, pause it after the step at hand, or queue a paused one again.

    Raises:
        NotFoundError: there is no such job.
        StateError: it is over, or is to be resumed and is not paused.
    """
    store = workspace.store
    job = queue.read(store, id)
    if job.kind == BATCH and wish == "cancel":
        stop_batch(store, read_batch(store, id))
        job = queue.read(store, id)
    else:
        job = queue.resume(store, id) if wish == "resume" else queue.ask(store, id, wish)
    if job.status in queue.OVER:
        begun_copies.end(workspace, job.id)
    audit(store, job.project, workspace.who, f"job.{wish}", job.id)
    return job


def as_dict(job: Job) -> dict[str, Any]:
    """A job as JSON has it."""
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
        "created": job.created.isoformat(timespec="seconds"),
        "started": job.started.isoformat() if job.started else None,
        "ended": job.ended.isoformat() if job.ended else None,
        "due": job.due.isoformat(timespec="seconds") if job.due else None,
    }


def event_as_dict(event: JobEvent) -> dict[str, Any]:
    """An event as JSON has it."""
    return {
        "at": event.at.isoformat(),
        "kind": event.kind,
        "message": event.message,
        "data": event.data,
    }
