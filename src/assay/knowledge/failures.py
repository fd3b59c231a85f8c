"""Files that could not be added to a knowledge base, until they can be or are removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select

from assay.store.erasure import overwrite
from assay.store.store import Store
from assay.store.tables import KnowledgeFailureRow


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """A file of which nothing was added, and why."""

    file: str
    reason: str


def failures_of(store: Store, base: str) -> list[FailedDocument]:
    """Files that could not be added and still are not, by path."""
    with store.session() as session:
        rows = session.scalars(
            select(KnowledgeFailureRow)
            .where(KnowledgeFailureRow.base == base)
            .order_by(KnowledgeFailureRow.path)
        ).all()
    return [FailedDocument(row.path, row.reason) for row in rows]


def note_failures(
    store: Store, base: str, failed: Iterable[FailedDocument], mended: Iterable[str]
) -> None:
    """Remember what failed, and forget what was mended or removed."""
    by_path = {f.file: f.reason for f in failed}
    with store.session() as session:
        overwrite(session)
        for path in {*mended, *by_path}:
            session.execute(
                delete(KnowledgeFailureRow).where(
                    KnowledgeFailureRow.base == base, KnowledgeFailureRow.path == path
                )
            )
        session.add_all(
            KnowledgeFailureRow(base=base, path=path, reason=reason)
            for path, reason in by_path.items()
        )
