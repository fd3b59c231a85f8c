"""The queue: who does what, decided by single guarded statements.

    id = enqueue(store, "support", "train", {"folder": "/srv/support"})
    job = claim(store, worker="host:4711")      # at most one worker ever gets it
    beat(store, job, progress={"done": 3, "total": 10})
    finish(store, job, result={"version": "..."})     # or hand_on(store, job, "release")

A job is `queued`, `running`, `paused`, or over: `succeeded`, `failed`, `cancelled`. A worker proves
that it lives by its beats, which are timed by the database's clock, for those of machines differ.
The job of a dead one is queued again (`recovery.py`) and goes on from its checkpoint; the dead one,
should it wake, finds that the job is no longer its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Case,
    ColumnElement,
    CursorResult,
    Update,
    case,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session

from assay.errors import AssayError, NotFoundError, StateError, Step
from assay.jobs.events import add_event
from assay.store.store import Store
from assay.store.tables import JobEventRow, JobRow, Table, now
from assay.store.tables.clock import database_time

OVER = frozenset({"succeeded", "failed", "cancelled"})


class JobLostError(AssayError):
    """The job was given to somebody else, because this worker seemed dead."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was when it was read.

    Attributes:
        project: whom it belongs to.
        kind: what is to be done, the name of a handler.
        wish: `cancel` or `pause`, what its running worker is asked for.
        attempts: workers that have taken it up since one last left it in good order.
        error: why it failed, one sentence or more.
        taken: when its last worker took it up; None: nobody has, or before this was kept.
        worked_s: seconds that workers had it before they left it.
        due: when it may be taken; None: at once.
    """

    id: str
    project: str
    kind: str
    payload: dict[str, Any]
    status: str
    wish: str | None
    worker: str | None
    attempts: int
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    error: str | None
    created: datetime
    started: datetime | None
    taken: datetime | None
    worked_s: float
    ended: datetime | None
    due: datetime | None


def new_id(prefix: str = "job") -> str:
    """An id that no job has."""
    return f"{prefix}-{secrets.token_hex(12)}"


def enqueue(
    store: Store,
    project: str,
    kind: str,
    payload: dict[str, Any],
    *,
    id: str | None = None,
    rows: Sequence[Table] = (),
) -> str:
    """Put a job at the end of the queue; returns its id.

    Args:
        id: one from `new_id` where it must be known before.
        rows: of other tables, kept in the same transaction as the job.
    """
    id = id or new_id()
    job = JobRow(id=id, project=project, kind=kind, payload=payload, status="queued", attempts=0)
    if store.engine.dialect.name == "postgresql":  # SQLite's clock counts in milliseconds only
        job.created = database_time()
    with store.session() as session:
        session.add(job)
        session.flush()
        session.add(JobEventRow(job=id, kind="message", message="Queued."))
        for row in rows:  # in this order: a later one may name an earlier one
            session.add(row)
            session.flush()
    return id


def claim(store: Store, worker: str, kinds: Collection[str], id: str | None = None) -> Job | None:
    """Take the job that has waited longest, or that one alone; None when it does not wait.

    One statement: of several workers that look at the same moment, SQLite lets one write after the
    other, and PostgreSQL lets each skip the rows that others are taking.
    """
    if not kinds or not is_waiting(store, kinds):  # on SQLite a statement that writes holds others
        return None
    wanted = true() if id is None else JobRow.id == id
    first = (
        select(JobRow.id)
        .where(JobRow.status == "queued", JobRow.kind.in_(kinds), _is_due(), wanted)
        .order_by(JobRow.created, JobRow.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    taken = (
        update(JobRow)
        .where(JobRow.id == first, JobRow.status == "queued")
        .values(
            status="running",
            worker=worker,
            beat=database_time(),
            wish=None,
            attempts=JobRow.attempts + 1,
            started=func.coalesce(JobRow.started, now()),
            taken=now(),
        )
        .returning(JobRow)
    )
    with store.session() as session:
        row = session.scalar(taken)
        if row is None:
            return None
        if row.due is None or row.attempts > 1:  # not for each look of a watch, for years
            add_event(session, row.id, "Started." if row.attempts == 1 else "Taken up again.")
        return row.convert(Job)


def beat(store: Store, job: Job, progress: dict[str, Any] | None = None) -> str | None:
    """Say that the worker lives, and how far it is.

    Returns:
        What it is asked for: `cancel`, `pause`, or None.

    Raises:
        JobLostError: the job is no longer this worker's.
    """
    values: dict[str, Any] = {"beat": database_time()}
    if progress is not None:
        values["progress"] = progress
    mine = _mine(job).values(**values).returning(JobRow.wish, JobRow.id)
    with store.session() as session:
        found = session.execute(mine).one_or_none()
    if found is None:
        raise JobLostError(f"job {job.id} was given to another worker.")
    wish: str | None = found.wish
    return wish


@contextmanager
def as_owner(store: Store, job: Job) -> Iterator[Session]:
    """A transaction that a worker may only make while the job is its own; a sign of life, too.

    Raises:
        JobLostError: it is another's by now; nothing is kept.
    """
    with store.session() as session:
        if not _changed(session.execute(_mine(job).values(beat=database_time()))):
            raise JobLostError(f"job {job.id} was given to another worker.")
        yield session


def finish(store: Store, job: Job, result: dict[str, Any], rows: Sequence[Table] = ()) -> None:
    """It is done, and so is all that was to be done of it.

    Args:
        rows: of other tables, kept in the same transaction if it has succeeded.

    Raises:
        JobLostError: it is no longer this worker's; its result is not kept.
    """
    last = read(store, job.id).progress
    if last and last.get("total"):  # it was told before the end
        last = {**last, "done": last["total"], "share": 1.0}
    kept: dict[str, Any] = {"result": result, "progress": last, "ended": now()}
    _leave(store, job, "succeeded", "Done.", rows=rows, **kept)


def hand_on(store: Store, job: Job, kind: str) -> None:
    """Its first part is done: it is queued again as another kind, in its old place."""
    _leave(store, job, _QUEUED, kind=kind, attempts=0)


def repeat(
    store: Store, job: Job, result: dict[str, Any], after: timedelta, error: str | None = None
) -> None:
    """It is done, or met an error; it is queued again, to be taken no sooner than `after`."""
    kept: dict[str, Any] = {"result": result, "error": error, "due": database_time(after)}
    _leave(store, job, _QUEUED, error, event="error", attempts=0, **kept)


def fail(store: Store, job: Job, error: str, data: dict[str, Any] | None = None) -> None:
    """It cannot be done; `error` says why, in an event with `data`."""
    _leave(store, job, "failed", error, event="error", data=data, error=error, ended=now())


def stop(store: Store, job: Job, wish: str) -> None:
    """Its worker has stopped it, as it was asked to: `cancel` ends it, `pause` keeps it."""
    if wish == "cancel":
        _leave(store, job, "cancelled", "Cancelled.", ended=now())
    else:
        _leave(store, job, "paused", "Paused.", attempts=0)


def release(store: Store, job: Job) -> None:
    """Its worker leaves in good order; another one may go on."""
    _leave(store, job, _QUEUED, "Queued again: its worker was stopped.", attempts=0)


def ask(store: Store, id: str, wish: str) -> Job:
    """Ask that a job be cancelled or paused. One that is not running is so at once.

    Args:
        wish: `cancel` or `pause`.

    Raises:
        NotFoundError: there is no such job.
        StateError: it is over, or is to be paused though it is cancelled.
    """
    status, ended = ("cancelled", now()) if wish == "cancel" else ("paused", None)
    waiting = ("queued", "paused") if wish == "cancel" else ("queued",)
    with store.session() as session:
        at_once = session.execute(
            update(JobRow)
            .where(JobRow.id == id, JobRow.status.in_(waiting))
            .values(status=status, ended=ended)
        )
        if _changed(at_once):
            add_event(session, id, "Cancelled." if wish == "cancel" else "Paused.")
        else:
            asked = JobRow.id == id, JobRow.status == "running", _not_to_be_cancelled()
            session.execute(update(JobRow).where(*asked).values(wish=wish))
    job = read(store, id)
    if job.wish == "cancel" != wish:
        raise StateError(f"job {id} is being cancelled.")
    if job.status in OVER and job.status != status:
        raise StateError(f"job {id} is over ({job.status}).")
    return job


def resume(store: Store, id: str) -> Job:
    """Queue a paused job again.

    Raises:
        NotFoundError: there is no such job.
        StateError: it is not paused.
    """
    with store.session() as session:
        paused = update(JobRow).where(JobRow.id == id, JobRow.status == "paused")
        changed = _changed(session.execute(paused.values(status="queued", wish=None)))
        if changed:
            add_event(session, id, "Queued again.")
    job = read(store, id)
    if not changed:
        raise StateError(f"job {id} is {job.status}, not paused.")
    return job


def is_running(store: Store, kinds: Collection[str]) -> bool:
    """Whether a worker does a job of one of these kinds."""
    return _is_there(store, JobRow.status == "running", JobRow.kind.in_(kinds))


def is_waiting(store: Store, kinds: Collection[str], others: Collection[str] = ()) -> bool:
    """Whether a job of these kinds can be taken now; of all but `others`, where none are named."""
    wanted = JobRow.kind.in_(kinds) if kinds else JobRow.kind.not_in(others)
    return _is_there(store, JobRow.status == "queued", _is_due(), wanted)


def _is_there(store: Store, *where: ColumnElement[bool]) -> bool:
    with store.session() as session:
        return session.scalar(select(JobRow.id).where(*where).limit(1)) is not None


def waiting(store: Store, kinds: Collection[str], most: int) -> Sequence[str]:
    """Ids of jobs of these kinds that can be taken now, those first that have waited longest."""
    wanted = JobRow.status == "queued", JobRow.kind.in_(kinds), _is_due()
    query = select(JobRow.id).where(*wanted).order_by(JobRow.created, JobRow.id).limit(most)
    with store.session() as session:
        return session.scalars(query).all()


def read(store: Store, id: str) -> Job:
    """One job.

    Raises:
        NotFoundError: there is none of that id.
    """
    with store.session() as session:
        row = session.get(JobRow, id)
        if row is None:
            raise NotFoundError(f"there is no job {id}.", fix=f"{Step.LIST_JOBS} shows all jobs.")
        return row.convert(Job)


def jobs(store: Store, project: str | None = None, kinds: Collection[str] = ()) -> list[Job]:
    """All jobs (of one project, of some kinds), the newest first."""
    where = [] if project is None else [JobRow.project == project]
    where += [JobRow.kind.in_(kinds)] if kinds else []
    query = select(JobRow).where(*where).order_by(JobRow.created.desc(), JobRow.id.desc())
    with store.session() as session:
        return [row.convert(Job) for row in session.scalars(query)]


def note(
    store: Store, job: Job, message: str, data: dict[str, Any] | None = None, kind: str = "message"
) -> None:
    """Add an event, as the job's owner.

    Raises:
        JobLostError: the job is another worker's by now.
    """
    with as_owner(store, job) as session:
        session.add(JobEventRow(job=job.id, kind=kind, message=message, data=data))


def _mine(job: Job) -> Update:
    """The job, as long as it is this worker's own attempt."""
    return update(JobRow).where(
        JobRow.id == job.id,
        JobRow.status == "running",
        JobRow.worker == job.worker,
        JobRow.attempts == job.attempts,
        JobRow.kind == job.kind,  # handed on, its attempts are counted anew
    )


_QUEUED = case((JobRow.wish == "pause", "paused"), else_="queued")
"""Status of a job that waits again; a pause that was asked for in the meantime is granted."""


def _leave(
    store: Store,
    job: Job,
    status: str | Case[str],
    message: str | None = None,
    event: str = "message",
    data: dict[str, Any] | None = None,
    kind: str | None = None,
    rows: Sequence[Table] = (),
    **values: Any,
) -> None:
    """It leaves its worker, with an event and rows; cancelled, where who asked was told so."""
    kept = _not_to_be_cancelled()
    free: dict[str, Any] = {"worker": None, "wish": None, "kind": kind or job.kind}
    if job.taken is not None:
        free["worked_s"] = job.worked_s + (now() - job.taken).total_seconds()
    left = _mine(job).where(kept).values(status=status, **free, **values)
    ended = _mine(job).where(~kept).values(status="cancelled", **free, ended=now())
    with store.session() as session:
        if _changed(session.execute(left)):
            session.add_all(rows)
            if message:
                add_event(session, job.id, message, event, data)
        elif _changed(session.execute(ended)):
            add_event(session, job.id, "Cancelled.")
        else:
            raise JobLostError(f"job {job.id} was given to another worker.")


def _not_to_be_cancelled() -> ColumnElement[bool]:
    return JobRow.wish.is_distinct_from("cancel")


def _is_due() -> ColumnElement[bool]:
    return or_(JobRow.due.is_(None), JobRow.due <= database_time())


def _changed(result: Any) -> bool:
    assert isinstance(result, CursorResult)
    return bool(result.rowcount)
