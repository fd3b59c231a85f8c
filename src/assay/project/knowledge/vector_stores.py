"""A project's knowledge as OpenAI's vector stores.

    made = create(workspace, "support", name="Manuals", files=["file-1"], ...)
    found = search(workspace, "support", made.id, ["How do I return it?"])

A vector store is a knowledge base of the project, and its id is the knowledge base's name: those
that `assay knowledge add` has made are there as well, and an agent may name one that a client has
made. What only vector stores have (a name to show, metadata, attributes of files) is kept beside.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from assay.errors import NotFoundError, UsageError
from assay.jobs import indexing
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.records import is_tuned_copy
from assay.knowledge.search import Passage
from assay.project.knowledge import removal
from assay.project.knowledge.vector_store_files import StoreFile, files_of
from assay.project.workspace import Workspace
from assay.store import stored_files
from assay.store.audit import audit
from assay.store.store import Store
from assay.store.stored_files import StoredFile
from assay.store.tables import (
    KnowledgeBaseRow,
    VectorStoreFileRow,
    VectorStoreRow,
    now,
)


@dataclass(frozen=True, slots=True)
class VectorStore:
    """A knowledge base, as clients see it."""

    id: str
    name: str
    metadata: dict[str, str]
    created: datetime
    active: datetime | None
    files: tuple[StoreFile, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found, and the file that it stands in."""

    passage: Passage
    file: StoreFile


def create(
    workspace: Workspace,
    project: str,
    who: str,
    *,
    name: str = "",
    metadata: Mapping[str, str] | None = None,
    files: Sequence[str] = (),
) -> VectorStore:
    """Make one, and queue the files that it begins with.

    Raises:
        NotFoundError: a file is not the project's.
        UsageError: one holds traces.
        QuotaError: the project may not have so much.
    """
    store = workspace.store
    found = [_find_file(workspace, project, id) for id in dict.fromkeys(files)]
    id = f"vs_{secrets.token_hex(12)}"
    with workspace.quota.room(project, sum(file.bytes for file in found)):
        KnowledgeBase(store, project, id).create()
        with store.session() as session:
            row = VectorStoreRow(project=project, id=id, name=name, notes=dict(metadata or {}))
            session.add(row)
        if found:
            indexing.enqueue(store, project, id, found, {})
    audit(store, project, who, "vector_store.create", id)
    return get(workspace, project, id)


def _find_file(workspace: Workspace, project: str, id: str) -> StoredFile:
    """A file that may be put into a vector store.

    Raises:
        NotFoundError: it is not the project's.
        UsageError: it holds copies of what was kept, which not every key may read.
    """
    file = stored_files.find(workspace.store, project, id)
    if file.scope is not None:
        raise UsageError(
            f"the file {id} holds copies of what was kept, which not every key may read.",
            fix="Put another file into the vector store.",
        )
    return file


def vector_stores(
    workspace: Workspace, project: str, seen: frozenset[str] | None = None
) -> list[VectorStore]:
    """All of the project, oldest first, without copies by trained embedders; `seen` as in `get`."""
    with workspace.store.session() as session:
        names = session.scalars(
            select(KnowledgeBaseRow.name)
            .join(
                VectorStoreRow,
                (VectorStoreRow.project == project) & (VectorStoreRow.id == KnowledgeBaseRow.name),
                isouter=True,
            )
            .where(KnowledgeBaseRow.owner == project)
            .order_by(KnowledgeBaseRow.created, VectorStoreRow.key, KnowledgeBaseRow.id)
        ).all()
    return [get(workspace, project, name, seen) for name in names if not is_tuned_copy(name)]


def get(
    workspace: Workspace, project: str, id: str, seen: frozenset[str] | None = None
) -> VectorStore:
    """One with its files.

    Args:
        seen: labels of whoever asks: only documents with one of them are told of; None: all.

    Raises:
        NotFoundError: the project has none of that id.
    """
    store = workspace.store
    with store.session() as session:
        base = session.scalar(
            select(KnowledgeBaseRow).where(
                KnowledgeBaseRow.owner == project, KnowledgeBaseRow.name == id
            )
        )
        row = session.scalar(
            select(VectorStoreRow).where(VectorStoreRow.project == project, VectorStoreRow.id == id)
        )
        if base is None:
            raise NotFoundError(f"no such vector store: {id}")
        created = base.created
        facts = (id, {}, None) if row is None else (row.name, dict(row.notes), row.active)
    files = tuple(files_of(store, project, id, seen))
    return VectorStore(id, facts[0], facts[1], created, facts[2], files)


def change(
    workspace: Workspace,
    project: str,
    id: str,
    *,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> VectorStore:
    """Another name to show, other metadata; None leaves what is there.

    Raises:
        NotFoundError: the project has none of that id.
    """
    get(workspace, project, id)
    row = _row(workspace.store, project, id)
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = name
    if metadata is not None:
        values["notes"] = dict(metadata)
    if values:
        with workspace.store.session() as session:
            session.execute(
                update(VectorStoreRow).where(VectorStoreRow.key == row).values(**values)
            )
    return get(workspace, project, id)


def remove(workspace: Workspace, project: str, id: str, who: str) -> None:
    """Erase it with all its passages; the clients' files stay.

    Raises:
        NotFoundError: the project has none of that id.
        StateError: a comparison that is not over searches it; nothing was erased.
    """
    store = workspace.store
    get(workspace, project, id)
    removal.refuse_searched(workspace, project, id)  # before its rows go, which find it again
    with store.session() as session:
        for table in (VectorStoreFileRow.store, VectorStoreRow.id):
            session.execute(
                delete(table.class_).where(table == id, table.class_.project == project)
            )
    removal.remove_all(workspace, id, owner=project)
    audit(store, project, who, "vector_store.delete", id)


def add_file(
    workspace: Workspace,
    project: str,
    id: str,
    file: str,
    attributes: Mapping[str, Any] | None,
    who: str,
) -> StoreFile:
    """Queue a file of the project; one that is there already is read again.

    Raises:
        NotFoundError: there is no such vector store or file.
        UsageError: it holds traces.
        QuotaError: the project may not have so much.
    """
    store = workspace.store
    get(workspace, project, id)
    found = _find_file(workspace, project, file)
    with workspace.quota.room(project, found.bytes):
        with store.session() as session:
            session.execute(delete(VectorStoreFileRow).where(*_is(project, id, file)))
        indexing.enqueue(store, project, id, [found], {file: dict(attributes or {})})
    audit(store, project, who, "vector_store.file", f"{id} {file}")
    return get_file(workspace, project, id, file)


def get_file(
    workspace: Workspace, project: str, id: str, file: str, seen: frozenset[str] | None = None
) -> StoreFile:
    """A file of a vector store; `seen` as in `get`.

    Raises:
        NotFoundError: there is no such vector store, or no such file in it.
    """
    for one in get(workspace, project, id, seen).files:
        if one.id == file:
            return one
    raise NotFoundError(f"no such file in {id}: {file}")


def change_file(
    workspace: Workspace, project: str, id: str, file: str, attributes: Mapping[str, Any]
) -> StoreFile:
    """Other attributes.

    Raises:
        NotFoundError: there is no such file of a client in it.
    """
    changed = (
        update(VectorStoreFileRow)
        .where(*_is(project, id, file))
        .values(attributes=dict(attributes))
        .returning(VectorStoreFileRow.key)
    )
    with workspace.store.session() as session:
        if session.scalar(changed) is None:
            raise NotFoundError(f"no such file in {id}: {file}")
    return get_file(workspace, project, id, file)


def remove_file(workspace: Workspace, project: str, id: str, file: str, who: str) -> None:
    """Erase a document; the client's file stays.

    Raises:
        NotFoundError: there is no such vector store, or no such file in it.
    """
    store = workspace.store
    found = get_file(workspace, project, id, file)
    with store.session() as session:
        session.execute(delete(VectorStoreFileRow).where(*_is(project, id, file)))
    with suppress(NotFoundError):  # it may have failed, or not be read yet
        removal.remove(workspace, id, [found.document], owner=project)
    audit(store, project, who, "vector_store.file.delete", f"{id} {file}")


def forget_file(workspace: Workspace, project: str, file: str, who: str) -> None:
    """Erase what a client's file has become in every vector store of its project."""
    with workspace.store.session() as session:
        stores = session.scalars(
            select(VectorStoreFileRow.store).where(
                VectorStoreFileRow.project == project, VectorStoreFileRow.file == file
            )
        ).all()
    for id in stores:
        with suppress(NotFoundError):
            remove_file(workspace, project, id, file, who)


def search(
    workspace: Workspace,
    project: str,
    id: str,
    queries: Sequence[str],
    *,
    k: int,
    threshold: float | None = None,
    keep: Callable[[Mapping[str, Any]], bool] | None = None,
    seen: frozenset[str] | None = None,
) -> list[Hit]:
    """The best passages for any of the queries, each once, best first.

    Args:
        threshold: the least likeness of meaning (cosine); None: all.
        keep: which files are looked at, by their attributes, before anything is ranked; of the
            clients' files only, since other documents have none. None: all documents.
        seen: as in `get`.

    Raises:
        NotFoundError: the project has none of that id.
    """
    store = workspace.store
    files = {file.document: file for file in get(workspace, project, id, seen).files}
    labels = None
    if keep is not None:
        rows = {document: file for document, file in files.items() if file.id != document}
        labels = frozenset(file.id for file in rows.values() if keep(file.attributes))
    best: dict[str, Passage] = {}
    found = KnowledgeBase(store, project, id).search(
        list(queries), k=k, threshold=threshold, labels=labels, seen=seen
    )
    for passage in (passage for one in found for passage in one):
        if passage.id not in best or passage.score > best[passage.id].score:
            best[passage.id] = passage
    ranked = sorted(best.values(), key=lambda passage: (-passage.score, passage.id))
    _touch(store, project, id)
    return [Hit(p, files[p.document]) for p in ranked[:k] if p.document in files]


def text_of(
    workspace: Workspace, project: str, id: str, file: str, seen: frozenset[str] | None = None
) -> list[str]:
    """The text that was read from a file, page by page; `seen` as in `get`.

    Raises:
        NotFoundError: there is no such file in it.
        UsageError: it was not read, or not yet.
    """
    found = get_file(workspace, project, id, file, seen)
    if found.status != "completed":
        raise UsageError(f"the file {file} has no text: it is {found.status}.")
    return KnowledgeBase(workspace.store, project, id).pages(found.document)


def _row(store: Store, project: str, id: str) -> int:
    """The key of what is kept beside a knowledge base, made where there is none yet."""
    query = select(VectorStoreRow.key).where(
        VectorStoreRow.project == project, VectorStoreRow.id == id
    )
    with store.session() as session:
        key = session.scalar(query)
        if key is None:
            row = VectorStoreRow(project=project, id=id, name=id, notes={})
            session.add(row)
            session.flush()
            key = row.key
        return key


def _touch(store: Store, project: str, id: str) -> None:
    with store.session() as session:
        session.execute(
            update(VectorStoreRow)
            .where(VectorStoreRow.project == project, VectorStoreRow.id == id)
            .values(active=now())
        )


def _is(project: str, id: str, file: str) -> tuple[Any, ...]:
    return (
        VectorStoreFileRow.project == project,
        VectorStoreFileRow.store == id,
        VectorStoreFileRow.file == file,
    )
