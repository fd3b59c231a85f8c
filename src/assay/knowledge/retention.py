"""How long states of a knowledge base are kept, and what those that are kept need of its files."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, select

from assay.knowledge.records import PINNED, forget_builds
from assay.store.store import Store
from assay.store.tables import KnowledgeBaseRow, KnowledgeBuildRow, KnowledgeDocumentRow
from assay.store.tables.clock import database_time


def forget_old(store: Store, base: str, retention: timedelta) -> None:
    """Give up builds that were superseded longer ago than this."""
    with store.session() as session:
        # Locked: else `pins.keep` could take over one of them between.
        pointer = session.get_one(KnowledgeBaseRow, base, with_for_update=True).build
        gone = session.scalars(
            select(KnowledgeBuildRow.key).where(
                KnowledgeBuildRow.base == base,
                KnowledgeBuildRow.superseded < database_time(-retention),
                KnowledgeBuildRow.key.is_distinct_from(pointer),
            )
        ).all()
        forget_builds(session, gone)


def tables_of(store: Store, base: str, *, besides: str | None = None) -> set[str]:
    """The tables of all builds that are kept, or of those that a pin does not keep alone."""
    with store.session() as session:
        found = session.scalars(select(KnowledgeBuildRow.table).where(_kept(base, besides)))
        return {table for table in found if table is not None}


def contents_of(store: Store, base: str, *, besides: str | None = None) -> set[str]:
    """The sha256 of all documents of these builds."""
    with store.session() as session:
        found = session.scalars(
            select(KnowledgeDocumentRow.sha256)
            .join(KnowledgeBuildRow, KnowledgeBuildRow.key == KnowledgeDocumentRow.build)
            .where(_kept(base, besides))
            .distinct()
        )
        return set(found)


def _kept(base: str, besides: str | None) -> ColumnElement[bool]:
    found = KnowledgeBuildRow.base == base
    if besides is None:
        return found
    return found & ~KnowledgeBuildRow.snapshot.contains(f"{PINNED}{besides}", autoescape=True)
