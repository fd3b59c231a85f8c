"""Evals as they are kept: created, looked at, changed, removed with their runs.

evaluation = create(store, "support", request)
evaluation = change(store, "support", evaluation.id, EvalChange(name="words"))

Runs of them are in `assay.jobs.eval_runs`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, and_, delete, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from assay.errors import NotFoundError
from assay.jobs.batches import BatchStateError
from assay.jobs.eval_request import EvalChange, EvalRequest
from assay.store import stored_files
from assay.store.store import Store
from assay.store.tables import BatchRow, EvalRow, EvalRunRow, FileRow, now

Order = Literal["asc", "desc"]
PURPOSE = "evals"
"""Of files with items."""


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
        return find_row(session, project, id).convert(Eval)


def count(store: Store, project: str) -> int:
    """How many evals a project has."""
    query = select(func.count(EvalRow.key)).where(EvalRow.project == project)
    with store.session() as session:
        return session.scalar(query) or 0


def change(store: Store, project: str, id: str, request: EvalChange) -> Eval:
    """Name it otherwise, or write other metadata beside it; what is not given stays.

    Raises:
        NotFoundError: there is none of that id in the project.
    """
    with store.session() as session:
        row = find_row(session, project, id)
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
    columns = (EvalRow.updated, EvalRow.key) if by == "updated_at" else (EvalRow.key,)
    query: Select[Any] = select(EvalRow).where(EvalRow.project == project)
    with store.session() as session:
        mark = None if after is None else find_row(session, project, after)
        values = None if mark is None else [getattr(mark, column.key) for column in columns]
        query = behind(query, columns, values, order)
        rows = session.scalars(query.limit(limit + 1)).all()
        return [row.convert(Eval) for row in rows[:limit]], len(rows) > limit


def remove(store: Store, project: str, id: str, run: str | None = None) -> None:
    """Forget an eval, its runs and their files.

    Args:
        run: id of one; the eval and its others stay.

    Raises:
        NotFoundError: there is no such eval in the project, or no such run of it.
        BatchStateError: a run is not over.
    """
    batch = select(
        BatchRow.id,
        BatchRow.outcome,
        BatchRow.input_file,
        BatchRow.output_file,
        BatchRow.error_file,
    ).join(EvalRunRow, EvalRunRow.id == BatchRow.id)
    wanted = EvalRunRow.eval == id
    if run is not None:
        wanted = and_(wanted, EvalRunRow.id == run)
    with store.session() as session:
        find_row(session, project, id, lock=True)  # so that no run comes in between
        found = session.execute(batch.where(wanted)).all()
        if run is not None and not found:
            raise NotFoundError(f"no such run of {id}: {run}")
        for one in found:
            if one.outcome is None:
                raise BatchStateError(f"The run {one.id} is not over.", fix="Cancel it first.")
        runs = [one.id for one in found]
        session.execute(delete(EvalRunRow).where(EvalRunRow.id.in_(runs)))
        session.execute(delete(BatchRow).where(BatchRow.id.in_(runs)))
        if run is None:
            session.execute(delete(EvalRow).where(EvalRow.id == id))
        named = [(one.input_file, one.output_file, one.error_file) for one in found]
        files = [file for several in named for file in several if file is not None]
        files = stored_files.forget_rows(session, FileRow.id.in_(files), FileRow.project == project)
    stored_files.remove_bytes(store, files)


def find_row(session: Session, project: str, id: str, *, lock: bool = False) -> EvalRow:
    """Its row; `lock`: which nobody changes or gives a run before the transaction has ended."""
    query = select(EvalRow).where(EvalRow.id == id, EvalRow.project == project)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFoundError(f"no such eval: {id}")
    return row


def behind(
    query: Select[Any],
    columns: Sequence[InstrumentedAttribute[Any]],
    mark: Sequence[Any] | None,
    order: Order,
) -> Select[Any]:
    """In the order of some columns, behind a row with these values."""
    if mark is not None:
        row, values = tuple_(*columns), tuple_(*mark)
        query = query.where(row < values if order == "desc" else row > values)
    return query.order_by(*(one.desc() if order == "desc" else one for one in columns))
