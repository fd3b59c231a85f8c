"""What has happened in a job, as it is kept beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from assay.store.store import Store
from assay.store.tables import JobEventRow

PLAIN = "plain"
"""In the `data` of a message or an error that ends with what a provider says, which may quote a
row: the line without it."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened: a `message`, a `warning`, an `error`, or `metrics` with `data`."""

    key: int
    kind: str
    message: str
    data: dict[str, Any] | None
    at: datetime


def read_events(store: Store, id: str, after: int = 0) -> Sequence[JobEvent]:
    """The events of a job in order, those behind `after` (a key)."""
    where = JobEventRow.job == id, JobEventRow.key > after
    query = select(JobEventRow).where(*where).order_by(JobEventRow.key)
    with store.session() as session:
        return [row.convert(JobEvent) for row in session.scalars(query)]


def add_event(
    session: Session,
    id: str,
    message: str,
    kind: str = "message",
    data: dict[str, Any] | None = None,
) -> None:
    """Add an event of a job within a transaction."""
    session.add(JobEventRow(job=id, kind=kind, message=message, data=data))
