"""Batches of requests as they are kept: created, looked at, cancelled, ended.

    id = create(store, "support", request, key_id="key_1f2e")
    batch = find(store, "support", id)
    batch.status                   # as OpenAI names it

A batch is one job of the queue, which a server takes up itself and no worker: its requests go the
way of all others, to engines that are loaded there (`assay.serve.batch_runner`).
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import ColumnElement, Select, and_, func, not_, select, update
from sqlalchemy.orm import Session

from assay.config.strict import ClosedModel
from assay.errors import NotFoundError, StateError
from assay.jobs import batch_answers, queue, shared_answers
from assay.jobs.metadata import Metadata
from assay.jobs.queue import Job
from assay.store import stored_files
from assay.store.files import link_or_copy
from assay.store.store import Store
from assay.store.stored_files import StoredBytes
from assay.store.tables import BatchRow, Table, now
from assay.store.tables.clock import database_time

BATCH = "batch"
EVAL_ITEMS = "/v1/evals/items"
"""The endpoint of a batch that is a run of an eval, see `assay.jobs.evals`: no client asks it."""
SERVED = frozenset({BATCH})
"""Kinds of jobs that servers do themselves."""
WINDOW = timedelta(hours=24)
"""What is not answered by then has expired."""
PURPOSE = "batch"
"""Of files with requests."""
OUTPUT = "batch_output"
"""Of files with answers."""
Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
Outcome = Literal["completed", "failed", "expired", "cancelled"]
"""How a batch ends, in OpenAI's words."""


class BatchStateError(StateError):
    """A batch, or a run of an eval, is over, or not over yet."""


class BatchRequest(ClosedModel):
    """What a client asks for."""

    input_file_id: Annotated[str, StringConstraints(max_length=100)]
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: Annotated[dict[str, Any], Field(max_length=4)] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch.

    Attributes:
        key_id: of the API key that it was created with.
        client_metadata: what the client has written beside it.
        lifetime_s: of the files with its answers; None: for ever.
        scope: what a caller needs, beside `files`, to read its files, see `Caller.may_read`.
        model: the one that all requests name; None: several, or not known yet.
        total, completed, failed: requests.
        usage: tokens of its answers, by `batch_answers.TOKENS`.
        errors: why it has failed: `code`, `line`, `message` and `param`.
        is_late: its window has ended.
        begun: when its file had been found good; None: it was not yet.
        outcome: None until it is over.
    """

    id: str
    project: str
    key_id: str
    endpoint: str
    input_file: str
    client_metadata: dict[str, str] | None
    lifetime_s: int | None
    scope: str | None
    model: str | None
    total: int
    completed: int
    failed: int
    usage: dict[str, int] | None
    errors: list[dict[str, Any]] | None
    output_file: str | None
    error_file: str | None
    created: datetime
    expires: datetime
    is_late: bool
    begun: datetime | None
    finalizing: datetime | None
    cancelling: datetime | None
    ended: datetime | None
    outcome: Outcome | None

    @property
    def status(self) -> str:
        """Where it stands, as OpenAI names it."""
        if self.outcome is not None:
            return self.outcome
        if self.cancelling is not None:
            return "cancelling"
        if self.finalizing is not None:
            return "finalizing"
        return "validating" if self.begun is None else "in_progress"


def create(
    store: Store, project: str, request: BatchRequest, key_id: str, lifetime_s: int | None
) -> str:
    """Queue a batch; returns its id.

    Args:
        key_id: of the API key that it is answered for.
        lifetime_s: of the files with its answers; None: for ever.
    """
    id = f"batch_{secrets.token_hex(12)}"
    row = BatchRow(
        id=id,
        project=project,
        key_id=key_id,
        endpoint=request.endpoint,
        input_file=request.input_file_id,
        client_metadata=request.metadata,
        lifetime_s=lifetime_s,
        created=database_time(),
        expires=database_time(WINDOW),
    )
    return queue_rows(store, row)


def queue_rows(store: Store, batch: BatchRow, *rows: Table) -> str:
    """Queue a batch, and keep other rows in the same transaction; returns its id."""
    payload = {"endpoint": batch.endpoint}
    return queue.enqueue(store, batch.project, BATCH, payload, id=batch.id, rows=[batch, *rows])


def find(store: Store, project: str, id: str) -> Batch:
    """A batch of a project.

    Raises:
        NotFoundError: there is none of that id in it.
    """
    return _convert(store, select(BatchRow).where(BatchRow.id == id, _asked_for(project)), id)


def read(store: Store, id: str) -> Batch:
    """A batch, whosever it is.

    Raises:
        NotFoundError: there is none of that id.
    """
    return _convert(store, select(BatchRow).where(BatchRow.id == id), id)


def _convert(store: Store, query: Select[Any], id: str) -> Batch:
    with store.session() as session:
        row = session.scalar(query)
        if row is None:
            raise NotFoundError(f"no such batch: {id}")
        batch: Batch = row.convert(Batch)
        return batch


def batches(
    store: Store, project: str, *, after: str | None = None, limit: int = 20
) -> tuple[list[Batch], bool]:
    """Batches of a project, the newest first, and whether there are more.

    Args:
        after: id of one; those behind it (older ones) are listed.

    Raises:
        NotFoundError: there is no batch `after`.
    """
    query = select(BatchRow).where(_asked_for(project)).order_by(BatchRow.key.desc())
    with store.session() as session:
        if after is not None:
            mark = session.scalar(
                select(BatchRow.key).where(BatchRow.id == after, _asked_for(project))
            )
            if mark is None:
                raise NotFoundError(f"no such batch: {after}")
            query = query.where(BatchRow.key < mark)
        rows = session.scalars(query.limit(limit + 1)).all()
        return [row.convert(Batch) for row in rows[:limit]], len(rows) > limit


def _asked_for(project: str) -> ColumnElement[bool]:
    """Batches that clients of a project have asked for as such."""
    return and_(BatchRow.project == project, BatchRow.endpoint != EVAL_ITEMS)


def count_open(store: Store, project: str, *, runs: bool = False) -> int:
    """Batches of a project that are not over; with `runs`, those that are runs of evals instead."""
    is_run = BatchRow.endpoint == EVAL_ITEMS
    return _count_open(store, project, is_run if runs else not_(is_run))


def count_readers(store: Store, project: str, file: str) -> int:
    """Batches and runs that are not over and have this file for their input."""
    return _count_open(store, project, BatchRow.input_file == file)


def _count_open(store: Store, project: str, which: ColumnElement[bool]) -> int:
    query = select(func.count(BatchRow.key)).where(
        BatchRow.project == project, BatchRow.outcome.is_(None), which
    )
    with store.session() as session:
        return session.scalar(query) or 0


def stop(store: Store, batch: Batch) -> None:
    """Cancel a batch; what was answered is kept. One that a server works on is `cancelling` until
    that has heard of it, and one that waits until answers that are not here have been fetched.

    Raises:
        BatchStateError: it is over.
    """
    id = batch.id
    if batch.outcome is not None:
        raise BatchStateError(f"Cannot cancel a batch with status '{batch.status}'.")
    asked = update(BatchRow).where(BatchRow.id == id, BatchRow.cancelling.is_(None))
    with store.session() as session:
        session.execute(asked.values(cancelling=now()))
    if batch_answers.provider_files(store, id):  # a server ends these first
        go_on(store, id)
        return
    try:
        is_stopped = queue.ask(store, id, "cancel").status == "cancelled"
    except StateError:  # its job has just ended
        is_stopped = False
    if is_stopped and not shared_answers.are_missing(store, id):  # else see `settle_left`
        settle(store, id, "cancelled", unanswered=CANCELLED)


def go_on(store: Store, id: str) -> None:
    """Let a server take a batch up again, if it is paused."""
    with suppress(StateError):
        queue.resume(store, id)


CANCELLED = {
    "code": "batch_cancelled",
    "message": "The batch was cancelled before this request was executed.",
}
EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}
"""Why lines have no answer."""


def link_input(store: Store, batch: Batch) -> None:
    """Give the input another name, under which it stays as long as the batch works.

    Raises:
        NotFoundError: the file is not there.
    """
    path = batch_answers.input_of(store, batch.id)
    if path.exists():
        return
    file = stored_files.find(store, batch.project, batch.input_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with stored_files.on_disk(store, file) as source:
        try:
            link_or_copy(source, path)
        except FileNotFoundError:
            raise NotFoundError(f"no such file: {batch.input_file}") from None


def begin(store: Store, job: Job, total: int, model: str | None) -> None:
    """Its file was found good.

    Raises:
        JobLostError: the job is no longer this server's; so do `report` and `settle`.
    """
    _change(store, job, total=total, model=model, begun=now())


def report(store: Store, job: Job, completed: int, failed: int, usage: Mapping[str, int]) -> None:
    """Say how far it is."""
    _change(store, job, completed=completed, failed=failed, usage=dict(usage))


def finalize(store: Store, job: Job) -> None:
    """Its answers are being put together."""
    _change(store, job, finalizing=now())


def _change(store: Store, job: Job, **values: Any) -> None:
    with queue.as_owner(store, job) as session:
        session.execute(update(BatchRow).where(BatchRow.id == job.id).values(**values))


def settle(
    store: Store,
    id: str,
    outcome: Outcome,
    *,
    errors: Sequence[Mapping[str, Any]] = (),
    unanswered: Mapping[str, str] | None = None,
    job: Job | None = None,
) -> None:
    """End a batch: the files with its answers are there and it is over, both or neither. Of several
    that would end it, one does.

    Args:
        unanswered: why lines without an answer have none: `code` and `message`; None: all have.
        job: of the server that works on it; None: nobody does.
    """
    batch = read(store, id)
    if batch.outcome is None:
        shared_answers.bring(store, id)  # also where its server has only just taken it over
        found = batch_answers.collect(store, id)
        output = batch_answers.write_output(store, found)
        untried = unanswered if batch.begun is not None else None  # its lines may be anything
        if untried is not None:
            with suppress(NotFoundError):  # another server may have worked on it
                link_input(store, batch)
        failures = batch_answers.write_errors(store, id, found, untried)
        values = {
            "completed": len(found.good),
            "failed": found.failed,
            "usage": dict(found.usage),
            "errors": [dict(one) for one in errors] or None,
            "outcome": outcome,
            "ended": now(),
        }
        is_kept = False
        try:
            with store.session() if job is None else queue.as_owner(store, job) as session:
                is_kept = _end(session, batch, values, output, failures)
        finally:
            if not is_kept:
                for written in (output, failures):
                    if written is not None:
                        stored_files.discard(store, written.id)
    if not batch_answers.provider_files(store, id):  # else it is needed to cancel these
        shutil.rmtree(batch_answers.folder_of(store, id), ignore_errors=True)
    shared_answers.forget(store, id)


def _end(
    session: Session,
    batch: Batch,
    values: dict[str, Any],
    output: StoredBytes | None,
    failures: StoredBytes | None,
) -> bool:
    ended = (
        update(BatchRow)
        .where(BatchRow.id == batch.id, BatchRow.outcome.is_(None))
        .values(
            output_file=output.id if output else None,
            error_file=failures.id if failures else None,
            **values,
        )
        .returning(BatchRow.id)
    )
    if session.scalar(ended) is None:
        return False
    for written, name in ((output, "output"), (failures, "error")):
        if written is not None:
            filename, limits = f"{batch.id}_{name}.jsonl", (batch.lifetime_s, batch.scope)
            session.add(stored_files.row_of(written, batch.project, filename, OUTPUT, *limits))
    return True
