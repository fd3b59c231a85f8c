"""What is known of a knowledge base: its documents, its settings, which build is searched.

The rows are changed in one transaction at the end of a build: a reader sees the state before it
or the state after it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assay.errors import NotFoundError, StateError, Step, UsageError
from assay.knowledge import build_archives
from assay.knowledge.build_archives import path_of
from assay.knowledge.settings import KnowledgeSettings
from assay.store import archives
from assay.store.archives import Archive
from assay.store.erasure import overwrite
from assay.store.store import Store
from assay.store.tables import (
    KnowledgeBaseRow,
    KnowledgeBuildRow,
    KnowledgeDocumentRow,
    KnowledgeFailureRow,
)
from assay.store.tables.clock import database_time

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
COPY = "@"
"""Between the name of a knowledge base and what a copy of it has of its own: the size of passages,
or the first digits of a trained embedder."""
_TUNED = rf"{COPY}t[0-9a-f]{{12}}"
_KEPT = re.compile(rf"{NAME.pattern}({COPY}[0-9]+)?({_TUNED})?")
PINNED = "@"
"""Between the snapshot of a state that is kept for a comparison and its pin (`pins`)."""
EMPTY = "empty"
"""The snapshot of a knowledge base to which nothing was ever added."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a knowledge base.

    Attributes:
        path: what it is called: the path its file was added by.
        sha256: of the file's bytes (hex).
        pages: None where the format has none.
        labels: who may see it, see `KnowledgeBase.search`.
        location: the file's absolute path when it was added.
    """

    path: str
    sha256: str
    bytes: int
    pages: int | None
    passages: int
    labels: tuple[str, ...]
    added_at: datetime
    location: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "document": self.path,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "pages": self.pages,
            "passages": self.passages,
            "labels": list(self.labels),
            "added_at": self.added_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Build:
    """A state of a knowledge base that can be searched.

    Attributes:
        snapshot: hash of documents and settings.
        table: the name of its passages' table; None where it has no passages.
        dimension: of its vectors; 0 while there are none.
    """

    key: int | None
    snapshot: str
    table: str | None
    settings: KnowledgeSettings
    dimension: int
    passages: int


NOTHING = Build(None, EMPTY, None, KnowledgeSettings(), 0, 0)


def snapshot_of(settings: KnowledgeSettings, documents: Iterable[Document]) -> str:
    """The same documents with the same settings are the same snapshot, wherever and whenever."""
    content = sorted((d.path, d.sha256, sorted(d.labels)) for d in documents)
    body = json.dumps([asdict(settings), content], ensure_ascii=False)
    return hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()[:32]


def base_id(store: Store, owner: str, name: str) -> str:
    """The id of a knowledge base.

    Raises:
        NotFoundError: there is none of that name.
    """
    with store.session() as session:
        return _base(session, owner, name).id


def make_base(store: Store, owner: str, name: str) -> str:
    """The id of a knowledge base, made where there is none of that name.

    Raises:
        UsageError: it cannot be called so.
    """
    if not _KEPT.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a knowledge base." if name else "the name is missing.",
            fix="Use at most 100 letters a to z, digits, dots, hyphens and underscores.",
        )
    try:
        with store.session() as session:
            found = _find(session, owner, name)
            if found is not None:
                return found.id
            made = KnowledgeBaseRow(id=secrets.token_hex(8), owner=owner, name=name)
            session.add(made)
            return made.id
    except IntegrityError:  # somebody else has made it at the same moment
        return base_id(store, owner, name)


def with_copies(store: Store, owner: str, name: str) -> list[str]:
    """The ids of a knowledge base and of all its copies."""
    with store.session() as session:
        found = session.execute(
            select(KnowledgeBaseRow.id, KnowledgeBaseRow.name).where(
                KnowledgeBaseRow.owner == owner
            )
        )
        return [id for id, one in found if one == name or one.startswith(name + COPY)]


def is_tuned_copy(name: str) -> bool:
    """Whether a name is that of a copy by a trained embedder."""
    return re.search(f"{_TUNED}$", name) is not None


def base_ids(store: Store) -> list[str]:
    """Of all knowledge bases of all owners."""
    with store.session() as session:
        return list(session.scalars(select(KnowledgeBaseRow.id)))


def has_base(store: Store, base: str) -> bool:
    """Whether there is a knowledge base of an id."""
    with store.session() as session:
        return session.get(KnowledgeBaseRow, base) is not None


def name_of(store: Store, base: str) -> str:
    """What a knowledge base is called."""
    with store.session() as session:
        return session.get_one(KnowledgeBaseRow, base).name


def names(store: Store, owner: str) -> list[str]:
    """Of all knowledge bases of an owner, sorted."""
    with store.session() as session:
        asked = select(KnowledgeBaseRow.name).where(KnowledgeBaseRow.owner == owner)
        return list(session.scalars(asked.order_by(KnowledgeBaseRow.name)))


def present(store: Store, base: str) -> Build:
    """The build that a base's searches read; `NOTHING` before the first."""
    with store.session() as session:
        row = session.scalar(
            select(KnowledgeBuildRow)
            .join(KnowledgeBaseRow, KnowledgeBaseRow.build == KnowledgeBuildRow.key)
            .where(KnowledgeBaseRow.id == base)
        )
    return NOTHING if row is None else as_build(row)


def builds_of(store: Store, base: str) -> list[Build]:
    """All that are kept, oldest first."""
    query = select(KnowledgeBuildRow).where(KnowledgeBuildRow.base == base)
    with store.session() as session:
        rows = session.scalars(query.order_by(KnowledgeBuildRow.key)).all()
    return [as_build(row) for row in rows]


def build_of(store: Store, base: str, snapshot: str) -> Build:
    """The build of a snapshot; one that is pinned is found by its pin alone (`pins`).

    Raises:
        NotFoundError: it was not kept.
    """
    if snapshot == EMPTY:
        return NOTHING
    with store.session() as session:
        row = session.scalar(
            select(KnowledgeBuildRow).where(
                KnowledgeBuildRow.base == base,
                KnowledgeBuildRow.snapshot == snapshot,
                ~KnowledgeBuildRow.snapshot.contains(PINNED),
            )
        )
    if row is None:
        raise NotFoundError(
            f"the state {snapshot[:12]} of this knowledge base is no longer kept.",
            fix="Search its current state, or add the documents of that state again.",
        )
    return as_build(row)


def documents_of(store: Store, build: Build) -> list[Document]:
    """The documents of a build, ordered by path."""
    if build.key is None:
        return []
    with store.session() as session:
        return documents_in(session, build.key)


def documents_in(session: Session, build: int) -> list[Document]:
    """The documents of a build by its key, ordered by path."""
    of_build = select(KnowledgeDocumentRow).where(KnowledgeDocumentRow.build == build)
    return [
        Document(**_shared(row), labels=tuple(row.labels), added_at=row.added)
        for row in session.scalars(of_build.order_by(KnowledgeDocumentRow.path))
    ]


def swap(
    store: Store,
    base: str,
    build: Build,
    documents: Sequence[Document],
    *,
    begun: int | None,
    archive: Archive | None = None,
    without: Collection[Document] = (),
) -> Build:
    """Let a build be the one that is searched, in one transaction.

    Args:
        begun: the key of the one it was made from, which must still be there: a lock that another
            machine could not see any more would lose a change.
        archive: of the build, where it is new in the bucket.
        build: a new one (`key` None), whose table is whole and indexed, or one that is kept,
            perhaps with another table.
        without: every other build that holds one of these documents, or had another content under
            its name or at its place, is given up at once; those that are pinned, when they are
            let go.
    """
    with store.session() as session:
        if without:
            overwrite(session)
        row = session.get_one(KnowledgeBaseRow, base, with_for_update=True)
        if row.build != begun:
            raise StateError(
                f"{row.name} was changed by another process meanwhile.", fix="Try again."
            )
        if archive is not None:
            if build.key is not None:
                build_archives.give_up(session, session.get_one(KnowledgeBuildRow, build.key))
            archives.name(session, path_of(base, build.snapshot), archive)
        if build.key is None:
            key = add_build(session, base, build, build.snapshot, documents)
            build = replace(build, key=key)
        else:
            again = session.get_one(KnowledgeBuildRow, build.key)
            again.superseded, again.table, again.dimension = None, build.table, build.dimension
            given = {document.path: document for document in documents}
            for kept_row in session.scalars(
                select(KnowledgeDocumentRow).where(KnowledgeDocumentRow.build == build.key)
            ):
                if document := given.get(kept_row.path):
                    kept_row.location, kept_row.added = document.location, document.added_at
        before, row.build = row.build, build.key
        if before is not None and before != build.key:
            session.get_one(KnowledgeBuildRow, before).superseded = database_time()
        if without:
            names, contents = {d.path for d in without}, {d.sha256 for d in without}
            places = {d.location for d in without}  # it may have had another name before
            others = session.execute(
                select(
                    KnowledgeDocumentRow.build,
                    KnowledgeDocumentRow.path,
                    KnowledgeDocumentRow.sha256,
                    KnowledgeDocumentRow.location,
                )
                .join(KnowledgeBuildRow, KnowledgeBuildRow.key == KnowledgeDocumentRow.build)
                .where(KnowledgeBuildRow.base == base, KnowledgeBuildRow.key != build.key)
                .where(~KnowledgeBuildRow.snapshot.contains(PINNED))
            )
            forget_builds(
                session,
                {
                    key
                    for key, path, sha256, location in others
                    if path in names or sha256 in contents or location in places
                },
            )
    return build


def forget_base(store: Store, base: str) -> None:
    """Remove every row of a knowledge base."""
    with store.session() as session:
        overwrite(session)
        builds = session.scalars(
            select(KnowledgeBuildRow.key).where(KnowledgeBuildRow.base == base)
        ).all()
        forget_builds(session, builds)
        session.execute(delete(KnowledgeFailureRow).where(KnowledgeFailureRow.base == base))
        session.execute(delete(KnowledgeBaseRow).where(KnowledgeBaseRow.id == base))


def add_build(
    session: Session, base: str, build: Build, snapshot: str, documents: Iterable[Document]
) -> int:
    """The key of a new row of a build with these documents, under a snapshot that no row has."""
    made = KnowledgeBuildRow(
        base=base,
        snapshot=snapshot,
        table=build.table,
        settings=asdict(build.settings),
        dimension=build.dimension,
        passages=build.passages,
    )
    session.add(made)
    session.flush()
    session.add_all(_document_row(made.key, document) for document in documents)
    return made.key


def add_earlier(store: Store, base: str, build: Build, documents: Iterable[Document]) -> None:
    """Keep a build as one that was present until now, unless it is kept; the caller holds the lock
    of its knowledge base."""
    query = select(KnowledgeBuildRow.key).where(
        KnowledgeBuildRow.base == base, KnowledgeBuildRow.snapshot == build.snapshot
    )
    with store.session() as session:
        if session.scalar(query) is None:
            key = add_build(session, base, build, build.snapshot, documents)
            session.get_one(KnowledgeBuildRow, key).superseded = database_time()


def forget_builds(session: Session, keys: Iterable[int]) -> None:
    """Remove the rows of builds, with what they say of documents."""
    for key in keys:
        build_archives.give_up(session, session.get_one(KnowledgeBuildRow, key))
        session.execute(delete(KnowledgeDocumentRow).where(KnowledgeDocumentRow.build == key))
        session.execute(delete(KnowledgeBuildRow).where(KnowledgeBuildRow.key == key))


def _base(session: Session, owner: str, name: str) -> KnowledgeBaseRow:
    found = _find(session, owner, name)
    if found is None:
        raise NotFoundError(f"there is no knowledge base {name!r}.", fix=f"{Step.SEE_KNOWLEDGE}.")
    return found


def _find(session: Session, owner: str, name: str) -> KnowledgeBaseRow | None:
    return session.scalar(
        select(KnowledgeBaseRow).where(
            KnowledgeBaseRow.owner == owner, KnowledgeBaseRow.name == name
        )
    )


def as_build(row: KnowledgeBuildRow) -> Build:
    """What a row says of a build."""
    settings = KnowledgeSettings(**row.settings)
    return Build(row.key, row.snapshot, row.table, settings, row.dimension, row.passages)


def _document_row(build: int, document: Document) -> KnowledgeDocumentRow:
    labels, added = list(document.labels), document.added_at
    return KnowledgeDocumentRow(build=build, labels=labels, added=added, **_shared(document))


def _shared(of: Document | KnowledgeDocumentRow) -> dict[str, Any]:
    """What a document and its row have by the same names."""
    names = ("path", "location", "sha256", "bytes", "pages", "passages")
    return {name: getattr(of, name) for name in names}
