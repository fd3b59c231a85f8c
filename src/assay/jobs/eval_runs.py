"""Runs of evals as they are kept: queued, looked at.

    create_run(store, evaluation, request, new_run_id(), items=items, total=120, ...)
    run, batch = find_run(store, "support", evaluation.id, id)
    status_of(batch)                        # as OpenAI names it

A run is a batch of requests (`assay.jobs.batches`) to an endpoint that answers and grades one item;
what came of each is in the batch's files (`assay.jobs.eval_results`).
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast, get_args

from sqlalchemy import ColumnElement, and_, func, not_, select, update
from sqlalchemy.exc import IntegrityError

from assay.errors import NotFoundError
from assay.jobs import batches, eval_results, evals
from assay.jobs.batches import EVAL_ITEMS, Batch, Outcome
from assay.jobs.eval_request import RunRequest
from assay.jobs.evals import PURPOSE, Eval, Order, behind, find_row
from assay.store import stored_files
from assay.store.store import Store
from assay.store.stored_files import StoredBytes
from assay.store.tables import BatchRow, EvalRunRow
from assay.store.tables.clock import database_time

RunStatus = Literal["queued", "in_progress", "completed", "canceled", "failed"]
_STATUSES: dict[str, RunStatus] = {
    "validating": "queued",
    "finalizing": "in_progress",
    "cancelling": "in_progress",
    "cancelled": "canceled",
    "expired": "failed",
}
"""Of a batch, where a run's is another word."""


@dataclass(frozen=True, slots=True)
class EvalRun:
    """Items answered and graded by an eval.

    Attributes:
        eval: its id.
        data_source: what the client has sent; items that came with it are in a file.
        total: items.
        tally: what came of them, see `eval_results.count`; None: not counted yet.
    """

    id: str
    eval: str
    name: str
    client_metadata: dict[str, str] | None
    data_source: dict[str, Any]
    total: int
    tally: dict[str, Any] | None
    created: datetime


def new_run_id() -> str:
    """An id that no run has."""
    return f"evalrun_{secrets.token_hex(12)}"


def status_of(batch: Batch) -> RunStatus:
    """Where the run of a batch stands, as OpenAI names it."""
    return _STATUSES.get(batch.status) or cast(RunStatus, batch.status)


def create_run(
    store: Store,
    evaluation: Eval,
    request: RunRequest,
    id: str,
    *,
    items: StoredBytes,
    total: int,
    key_id: str,
    data_source: dict[str, Any],
    lifetime_s: int | None,
    scope: str | None,
) -> None:
    """Queue a run.

    Args:
        id: from `new_run_id`.
        items: the file of its batch, see `eval_results.write_items`.
        total: how many.
        key_id: of the API key that it is answered for.
        data_source: as it is told again.
        lifetime_s: of its files; None: until it is deleted.
        scope: what a caller needs, beside `files`, to read them, see `Caller.may_read`.

    Raises:
        NotFoundError: the eval was deleted meanwhile.
    """
    batch = BatchRow(
        id=id,
        project=evaluation.project,
        key_id=key_id,
        endpoint=EVAL_ITEMS,
        input_file=items.id,
        lifetime_s=lifetime_s,
        scope=scope,
        total=total,
        created=database_time(),
        expires=database_time(batches.WINDOW),
    )
    run = EvalRunRow(
        id=id,
        eval=evaluation.id,
        name=request.name or id,
        client_metadata=request.metadata,
        data_source=data_source,
        total=total,
    )
    file = stored_files.row_of(items, evaluation.project, f"{id}.jsonl", PURPOSE, lifetime_s, scope)
    try:
        batches.queue_rows(store, batch, run, file)
    except IntegrityError:
        raise NotFoundError(f"no such eval: {evaluation.id}") from None


def read_run(store: Store, id: str) -> tuple[EvalRun, Batch]:
    """A run and its batch, whosever it is.

    Raises:
        NotFoundError: there is none of that id.
    """
    query = select(EvalRunRow, BatchRow).join(BatchRow, BatchRow.id == EvalRunRow.id)
    with store.session() as session:
        found = session.execute(query.where(EvalRunRow.id == id)).one_or_none()
        if found is None:
            raise NotFoundError(f"no such run: {id}")
        return found[0].convert(EvalRun), found[1].convert(Batch)


def count_runs(store: Store, eval: str) -> int:
    """How many runs an eval has."""
    query = select(func.count(EvalRunRow.key)).where(EvalRunRow.eval == eval)
    with store.session() as session:
        return session.scalar(query) or 0


def find_run(store: Store, project: str, eval: str, id: str) -> tuple[EvalRun, Batch]:
    """A run of an eval, and its batch.

    Raises:
        NotFoundError: there is none.
    """
    found, _ = runs(store, project, eval, id=id)
    if not found:
        raise NotFoundError(f"no such run of {eval}: {id}")
    return found[0]


def runs(
    store: Store,
    project: str,
    eval: str,
    *,
    id: str | None = None,
    after: str | None = None,
    limit: int = 20,
    order: Order = "asc",
    status: RunStatus | None = None,
) -> tuple[list[tuple[EvalRun, Batch]], bool]:
    """Runs of an eval with their batches, in the order of their times, and whether there are more.

    Args:
        id: of one; the others are left out.

    Raises:
        NotFoundError: there is no such eval, or no run `after`.
    """
    query: Any = (
        select(EvalRunRow, BatchRow)
        .join(BatchRow, BatchRow.id == EvalRunRow.id)
        .where(EvalRunRow.eval == eval)
    )
    if id is not None:
        query = query.where(EvalRunRow.id == id)
    if status is not None:
        query = query.where(_stands(status))
    with store.session() as session:
        find_row(session, project, eval)
        mark = None
        if after is not None:
            mark = session.scalar(
                select(EvalRunRow.key).where(EvalRunRow.id == after, EvalRunRow.eval == eval)
            )
            if mark is None:
                raise NotFoundError(f"no such run of {eval}: {after}")
        query = behind(query, (EvalRunRow.key,), None if mark is None else [mark], order)
        found = [
            (row.convert(EvalRun), batch.convert(Batch))
            for row, batch in session.execute(query.limit(limit + 1))
        ]
    return found[:limit], len(found) > limit


def _stands(status: RunStatus) -> ColumnElement[bool]:
    """Batches whose run has a status, see `status_of`."""
    outcomes = [one for one in get_args(Outcome) if _STATUSES.get(one, one) == status]
    if outcomes:
        return BatchRow.outcome.in_(outcomes)
    later = BatchRow.begun, BatchRow.finalizing, BatchRow.cancelling
    is_queued = and_(*(column.is_(None) for column in later))
    return and_(BatchRow.outcome.is_(None), is_queued if status == "queued" else not_(is_queued))


def tally_run(store: Store, id: str) -> None:
    """Count what came of a batch that is over, if it is a run."""
    with suppress(NotFoundError):  # another batch, or deleted meanwhile
        tally(store, *read_run(store, id))


def tally(store: Store, run: EvalRun, batch: Batch) -> dict[str, Any] | None:
    """What came of a run, counted once; None: it is not over, or its files are gone."""
    if run.tally is not None or batch.outcome is None:
        return run.tally
    request = evals.find(store, batch.project, run.eval).request
    names = [one["name"] for one in request["testing_criteria"]]
    try:
        with eval_results.open_results(store, batch) as results:
            found = eval_results.count(names, results)
    except NotFoundError:
        return None
    with store.session() as session:
        session.execute(update(EvalRunRow).where(EvalRunRow.id == run.id).values(tally=found))
    return found
