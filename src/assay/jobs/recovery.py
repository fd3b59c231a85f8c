"""What becomes of the jobs of workers that died: queued again, or stopped as they were to be."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import or_, select, update

from assay.jobs.events import add_event
from assay.store.store import Store
from assay.store.tables import JobRow, now
from assay.store.tables.clock import database_time

SILENCE = timedelta(seconds=30)
"""A worker that was not heard of for so long, by the database's clock, is taken for dead."""
MOST_ATTEMPTS = 5
"""A job that has cost so many workers their life is not given to one more."""
REST = timedelta(hours=1)
"""One that is done again and again is given to one more after so long."""


def running_workers(store: Store) -> set[str]:
    """Names of the workers that have a job."""
    query = select(JobRow.worker).where(JobRow.status == "running", JobRow.worker.is_not(None))
    with store.session() as session:
        return {str(name) for name in session.scalars(query)}


def heard_workers(store: Store) -> set[str]:
    """Names of the workers that have a job and were heard of lately."""
    lately = JobRow.beat >= database_time(-SILENCE)
    query = select(JobRow.worker).where(JobRow.status == "running", lately)
    with store.session() as session:
        return {str(name) for name in session.scalars(query)}


def revive(
    store: Store, silence: timedelta = SILENCE, *, dead_workers: Collection[str] = ()
) -> list[str]:
    """Queue the jobs of dead workers again; those that were asked to stop are stopped.

    Args:
        silence: who was not heard of for so long is dead.
        dead_workers: names of those that are known to be, however lately they were heard of.

    Returns:
        ids of the jobs that can be claimed now.
    """
    last = database_time(-silence)
    gone = or_(JobRow.beat < last, JobRow.worker.in_(dead_workers))
    dead = JobRow.status == "running", gone
    with store.session() as session:
        for job in session.scalars(select(JobRow).where(*dead)):
            if job.taken is not None and job.beat is not None:  # it worked until it fell silent
                job.worked_s += max(0.0, (job.beat - job.taken).total_seconds())
        for wish, status, ended in (("cancel", "cancelled", now()), ("pause", "paused", None)):
            session.execute(
                update(JobRow)
                .where(*dead, JobRow.wish == wish)
                .values(status=status, worker=None, wish=None, ended=ended)
            )
        message = f"{MOST_ATTEMPTS} workers ended unexpectedly while running it."
        resting = session.scalars(
            update(JobRow)
            .where(*dead, JobRow.attempts >= MOST_ATTEMPTS, JobRow.due.is_not(None))
            .values(status="queued", worker=None, attempts=0, error=message)
            .values(due=database_time(REST))
            .returning(JobRow.id)
        ).all()
        spent = session.scalars(
            update(JobRow)
            .where(*dead, JobRow.attempts >= MOST_ATTEMPTS)
            .values(status="failed", worker=None, ended=now(), error=message)
            .returning(JobRow.id)
        ).all()
        alive = session.scalars(
            update(JobRow)
            .where(*dead, JobRow.attempts < MOST_ATTEMPTS)
            .values(status="queued", worker=None)
            .returning(JobRow.id)
        ).all()
        for id in (*resting, *spent):
            add_event(session, id, message, "error")
        for id in alive:
            add_event(session, id, "Its worker ended unexpectedly; queued again.")
    return list(alive)
