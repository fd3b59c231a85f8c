"""Under which path of the state the bucket has a build's archive.

A table is one archive, though several builds may have it: a state, and the same one as it is pinned
for a comparison (`pins`). It is named by the path of one of them, and handed on when that one goes.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from assay.knowledge.table import FOLDER
from assay.store import archives
from assay.store.store import Store
from assay.store.tables import KnowledgeBuildRow, SharedFileRow


def path_of(base: str, snapshot: str) -> str:
    """What a build is called among what all servers have the same, see `shared_builds`."""
    return f"{FOLDER}/{base}/{snapshot}"


def find_path(store: Store, base: str, table: str, snapshot: str) -> str:
    """The path of the archive of a table, or that of its build where there is none."""
    with store.session() as session:
        return _find(session, base, table) or path_of(base, snapshot)


def give_up(session: Session, row: KnowledgeBuildRow) -> None:
    """Let a build have no archive any more; another build that has its table takes it over."""
    path = path_of(row.base, row.snapshot)
    heir = session.scalar(
        select(KnowledgeBuildRow.snapshot)
        .where(
            KnowledgeBuildRow.base == row.base,
            KnowledgeBuildRow.table == row.table,
            KnowledgeBuildRow.key != row.key,
        )
        .limit(1)
    )
    found = session.get(SharedFileRow, path)
    if heir is None or found is None:
        archives.forget(session, path)
    else:
        found.path = path_of(row.base, heir)
        session.flush()


def _find(session: Session, base: str, table: str) -> str | None:
    builds = session.scalars(
        select(KnowledgeBuildRow.snapshot).where(
            KnowledgeBuildRow.base == base, KnowledgeBuildRow.table == table
        )
    )
    paths = [path_of(base, snapshot) for snapshot in builds]
    return session.scalar(select(SharedFileRow.path).where(SharedFileRow.path.in_(paths)))
