"""The documents of a vector store as its clients know them: files, and how far each is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select

from assay.knowledge import records
from assay.store.store import Store
from assay.store.tables import JobRow, VectorStoreFileRow

Status = Literal["in_progress", "completed", "cancelled", "failed"]
_STATUS: dict[str, Status] = {
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""Of a file by its job's; every other one is still under way."""


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A document of a vector store.

    Attributes:
        id: of the client's file; of a document that no client brought, its name.
        bytes: of the file.
        error: why it failed, else None.
    """

    id: str
    store: str
    document: str
    status: Status
    bytes: int
    created: datetime
    error: str | None
    attributes: dict[str, Any]

    @property
    def filename(self) -> str:
        """Without the id before it."""
        return self.document.removeprefix(f"{self.id}/")


def files_of(store: Store, project: str, id: str, seen: frozenset[str] | None) -> list[StoreFile]:
    """Documents by when they came; those that clients brought with their state.

    Args:
        seen: labels of whoever asks, who is told of no document without one of them. Files that
            clients bring have none. None: all documents.
    """
    base = records.base_id(store, project, id)
    documents = {d.path: d for d in records.documents_of(store, records.present(store, base))}
    query = (
        select(VectorStoreFileRow, JobRow)
        .join(JobRow, JobRow.id == VectorStoreFileRow.job, isouter=True)
        .where(VectorStoreFileRow.project == project, VectorStoreFileRow.store == id)
        .order_by(VectorStoreFileRow.key)
    )
    found = []
    with store.session() as session:
        for row, job in session.execute(query):
            documents.pop(row.document, None)
            if seen is None:
                found.append(_file(row, job))
    found += [
        StoreFile(d.path, id, d.path, "completed", d.bytes, d.added_at, None, {})
        for d in documents.values()
        if seen is None or not seen.isdisjoint(d.labels)
    ]
    return sorted(found, key=lambda file: file.created)


def _file(row: VectorStoreFileRow, job: JobRow | None) -> StoreFile:
    status: Status = "failed" if job is None else _STATUS.get(job.status, "in_progress")
    error = None if job is None else job.error
    if job is not None and job.result is not None:
        error = job.result["failed"].get(row.file)
        status = "failed" if error else status
    return StoreFile(
        row.file,
        row.store,
        row.document,
        status,
        row.bytes,
        row.created,
        error if status == "failed" else None,
        dict(row.attributes),
    )
