"""Batches, and runs of evals, that nobody will work on any more: they end with what they have."""

from __future__ import annotations

import shutil

from sqlalchemy import select

from assay.jobs import batch_answers, eval_runs, queue
from assay.jobs.batches import CANCELLED, EXPIRED, Batch, go_on, settle
from assay.jobs.queue import OVER, Job
from assay.store.store import Store
from assay.store.tables import BatchRow, JobRow


def settle_left(store: Store) -> list[str]:
    """End the batches whose job is over without them, or that wait beyond their window; and remove
    what those have left that are over.

    Returns:
        Ids of those that are over while providers may still work for them, which is kept.
    """
    query = (
        select(BatchRow, JobRow)
        .join(JobRow, JobRow.id == BatchRow.id)
        .where(BatchRow.outcome.is_(None))
    )
    with store.session() as session:
        left = [(row.convert(Batch), job.convert(Job)) for row, job in session.execute(query)]
    for batch, job in left:
        if job.status in ("queued", "paused") and batch.is_late:
            if batch_answers.provider_files(store, batch.id):
                go_on(store, batch.id)  # which ends these, and keeps what they have answered
                continue
            job = queue.ask(store, batch.id, "cancel")
        if job.status not in OVER:
            continue
        if job.status == "failed":
            error = {"code": "server_error", "message": job.error or ""}
            settle(store, batch.id, "failed", errors=[error], unanswered=error)
        elif batch.is_late and batch.cancelling is None:
            settle(store, batch.id, "expired", unanswered=EXPIRED)
        else:
            settle(store, batch.id, "cancelled", unanswered=CANCELLED)
        eval_runs.tally_run(store, batch.id)
    waiting = {batch.id for batch, job in left if job.status not in OVER}
    away = []
    for pattern in ("batch_*", "evalrun_*"):
        for folder in (store.folder / "work").glob(pattern):
            id = folder.name
            if id in waiting or not _is_over(store, id):
                continue
            if batch_answers.provider_files(store, id):
                away.append(id)
            else:
                shutil.rmtree(folder, ignore_errors=True)
    return away


def _is_over(store: Store, id: str) -> bool:
    query = select(BatchRow.id).where(BatchRow.id == id, BatchRow.outcome.is_(None))
    with store.session() as session:
        return session.scalar(query) is None
