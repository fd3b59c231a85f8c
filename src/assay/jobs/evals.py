"""Evals and their runs as they are kept: created, looked at, changed, removed.

    made = create(store, "support", request)
    run = create_run(store, made, request, batch_row, total=120)
    run.status                     # as OpenAI names it

A run is a batch of requests (`assay.jobs.batches`) to an endpoint that answers and grades one item;
what came of each is in the batch's files (`assay.jobs.eval_results`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from assay.errors import NotFoundError, StateError
from assay.jobs import batches
from assay.jobs.batches import EVAL_ITEMS, Batch
from assay.jobs.eval_request import EvalChange, EvalRequest, RunRequest
from assay.store import stored_files
from assay.store.store import Store
from assay.store.stored_files import StoredBytes
from assay.store.tables import BatchRow, EvalRow, EvalRunRow, now
from assay.store.tables.clock import database_time

Order = Literal["asc", "desc"]
RunStatus = Literal["queued", "in_progress", "completed", "canceled", "failed"]
_STATUSES: dict[str, RunStatus] = {
    "validating": "queued",
    "finalizing": "in_progress",
    "cancelling": "in_progress",
    "cancelled": "canceled",
    "expired": "failed",
}
"""Of a batch, where a run's is another word."""
_ALL = 2**31
PURPOSE = "evals"
"""Of files with items."""
WINDOW = timedelta(days=7)
"""What is not graded by then stays so."""


@dataclass(frozen=True, slots=True)
class Eval:
    """What answers are graded by.

    Attributes:
        request: as the client has sent it, but for name and metadata.
    """

    id: str
    project: str
    name: str
    client_metadata: dict[str, str] | None
    request: dict[str, Any]
    created: datetime


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
    status = batch.status
    return _STATUSES.get(status) or cast(RunStatus, status)


def create(store: Store, project: str, request: EvalRequest) -> Eval:
    """Keep an eval of a project; what it was made of never changes."""
    kept = request.model_dump(mode="json", exclude={"name", "metadata"}, exclude_none=True)
    id = f"eval_{secrets.token_hex(12)}"
    row = EvalRow(
        id=id,
        project=project,
        name=request.name or id,
        client_metadata=request.metadata,
        request=kept,
    )
    with store.session() as session:
        session.add(row)
        session.flush()
        return row.convert(Eval)


def find(store: Store, project: str, id: str) -> Eval:
    """An eval of a project.

    Raises:
        NotFoundError: there is none of that id in it.
    """
    with store.session() as session:
        return _find(session, project, id).convert(Eval)


def count(store: Store, project: str) -> int:
    """How many evals a project has."""
    query = select(func.count(EvalRow.key)).where(EvalRow.project == project)
    with store.session() as session:
        return session.scalar(query) or 0


def count_open(store: Store, project: str) -> int:
    """Runs of a project that are not over."""
    query = select(func.count(BatchRow.key)).where(
        BatchRow.project == project, BatchRow.endpoint == EVAL_ITEMS, BatchRow.outcome.is_(None)
    )
    with store.session() as session:
        return session.scalar(query) or 0


def change(store: Store, project: str, id: str, request: EvalChange) -> Eval:
    """Name it otherwise, or write other metadata beside it; what is not given stays.

    Raises:
        NotFoundError: there is none of that id in the project.
    """
    with store.session() as session:
        row = _find(session, project, id)
        if request.name is not None:
            row.name = request.name
        if "metadata" in request.model_fields_set:
            row.client_metadata = request.metadata
        row.updated = now()
        session.flush()
        return row.convert(Eval)


def evals(
    store: Store,
    project: str,
    *,
    after: str | None = None,
    limit: int = 20,
    order: Order = "asc",
    by: Literal["created_at", "updated_at"] = "created_at",
) -> tuple[list[Eval], bool]:
    """Evals of a project in the order of their times, and whether there are more.

    Raises:
        NotFoundError: there is no eval `after`.
    """
    query: Select[Any] = select(EvalRow).where(EvalRow.project == project)
    with store.session() as session:
        mark = None if after is None else _find(session, project, after)
        if by == "updated_at":
            time, key = EvalRow.updated, EvalRow.key
            if mark is not None:
                later = time < mark.updated if order == "desc" else time > mark.updated
                beside = key < mark.key if order == "desc" else key > mark.key
                query = query.where(or_(later, and_(time == mark.updated, beside)))
            several = (time.desc(), key.desc()) if order == "desc" else (time, key)
            query = query.order_by(*several)
        else:
            query = _behind(query, EvalRow.key, None if mark is None else mark.key, order)
        rows = session.scalars(query.limit(limit + 1)).all()
        return [row.convert(Eval) for row in rows[:limit]], len(rows) > limit


def create_run(
    store: Store,
    made: Eval,
    request: RunRequest,
    id: str,
    items: StoredBytes,
    total: int,
    key_id: str,
    data_source: dict[str, Any],
) -> None:
    """Queue a run.

    Args:
        id: from `new_run_id`.
        items: the file of its batch, see `eval_results.write_items`.
        total: how many.
        key_id: of the API key that it is answered for.
        data_source: as it is told again.
    """
    batch = BatchRow(
        id=id,
        project=made.project,
        key_id=key_id,
        endpoint=EVAL_ITEMS,
        input_file=items.id,
        total=total,
        created=database_time(),
        expires=database_time(WINDOW),
    )
    run = EvalRunRow(
        id=id,
        eval=made.id,
        name=request.name or id,
        client_metadata=request.metadata,
        data_source=data_source,
        total=total,
    )
    file = stored_files.row_of(items, made.project, f"{id}.jsonl", PURPOSE)
    batches.queue_rows(store, batch, run, file)


def read_run(store: Store, id: str) -> tuple[EvalRun, Batch]:
    """A run and its batch, whosever it is."""
    query = select(EvalRunRow, BatchRow).join(BatchRow, BatchRow.id == EvalRunRow.id)
    with store.session() as session:
        row, batch = session.execute(query.where(EvalRunRow.id == id)).one()
        return row.convert(EvalRun), batch.convert(Batch)


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
    with store.session() as session:
        _find(session, project, eval)
        mark = None
        if after is not None:
            mark = session.scalar(
                select(EvalRunRow.key).where(EvalRunRow.id == after, EvalRunRow.eval == eval)
            )
            if mark is None:
                raise NotFoundError(f"no such run of {eval}: {after}")
        query = _behind(query, EvalRunRow.key, mark, order)
        if status is None:
            query = query.limit(limit + 1)
        found = [
            (row.convert(EvalRun), batch.convert(Batch)) for row, batch in session.execute(query)
        ]
    if status is not None:
        found = [one for one in found if status_of(one[1]) == status]
    return found[:limit], len(found) > limit


def keep_tally(store: Store, id: str, tally: dict[str, Any]) -> None:
    """Keep what came of a run that is over."""
    with store.session() as session:
        session.execute(update(EvalRunRow).where(EvalRunRow.id == id).values(tally=tally))


def remove_run(store: Store, project: str, eval: str, id: str) -> list[str]:
    """Forget a run that is over; returns the ids of its files, which nobody needs any more.

    Raises:
        NotFoundError: there is none.
        StateError: it is not over.
    """
    _, batch = find_run(store, project, eval, id)
    return _remove(store, [batch])


def remove(store: Store, project: str, id: str) -> list[str]:
    """Forget an eval and its runs; returns the ids of their files.

    Raises:
        NotFoundError: there is none of that id in the project.
        StateError: a run is not over.
    """
    found, _ = runs(store, project, id, limit=_ALL)
    return _remove(store, [batch for _, batch in found], eval=id)


def _remove(store: Store, found: list[Batch], eval: str | None = None) -> list[str]:
    for batch in found:
        if batch.outcome is None:
            raise StateError(f"The run {batch.id} is not over.", fix="Cancel it first.")
    ids = [batch.id for batch in found]
    with store.session() as session:
        session.execute(delete(EvalRunRow).where(EvalRunRow.id.in_(ids)))
        session.execute(delete(BatchRow).where(BatchRow.id.in_(ids)))
        if eval is not None:
            session.execute(delete(EvalRow).where(EvalRow.id == eval))
    files = [(one.input_file, one.output_file, one.error_file) for one in found]
    return [file for several in files for file in several if file is not None]


def _find(session: Session, project: str, id: str) -> EvalRow:
    query = select(EvalRow).where(EvalRow.id == id, EvalRow.project == project)
    row = session.scalar(query)
    if row is None:
        raise NotFoundError(f"no such eval: {id}")
    return row


def _behind(
    query: Select[Any], key: InstrumentedAttribute[int], mark: int | None, order: Order
) -> Select[Any]:
    """In the order of a key, behind one."""
    if mark is not None:
        query = query.where(key < mark if order == "desc" else key > mark)
    return query.order_by(key.desc() if order == "desc" else key)
