"""Builds of knowledge bases in a bucket, for servers with folders of their own.

A build never changes, so it is one object (`assay.store.archives`): its table, and the texts of its
documents. It is there before the row is that lets it be searched. A server that answers by that row
fetches what it lacks into its own folder, and searches there as if it had made it. LanceDB's own
object storage would ask the bucket at every question, and keep what is to be erased.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from assay.errors import NotFoundError, ObjectsAwayError, Step
from assay.knowledge.build_archives import find_path
from assay.knowledge.parse import kind_of
from assay.knowledge.records import Build, Document
from assay.knowledge.table import IndexBrokenError, Tables, base_folder
from assay.knowledge.texts import Texts
from assay.store import archives
from assay.store.archives import Archive
from assay.store.files import one_at_a_time
from assay.store.store import Store


def tables_at(folder: Path) -> Tables:
    """The tables of a knowledge base, by its folder."""
    return Tables(folder / "tables")


def texts_at(folder: Path) -> Texts:
    """The texts of its documents."""
    return Texts(folder / "texts")


def pack_build(
    store: Store, base: str, build: Build, documents: Sequence[Document]
) -> Archive | None:
    """Write a build to the bucket; None: there is none, or nothing to write.

    Raises:
        IndexBrokenError: the text of a document is gone.
        ObjectsError: the bucket is out of reach.
    """
    if store.bucket is None or build.table is None:
        return None
    texts = texts_at(base_folder(store, base))
    for document in documents:
        kind = kind_of(document.path)
        if kind is not None and not texts.has(document.sha256, kind):
            texts.get(document.sha256, kind)  # says so
    return archives.pack(store, files_of(store, base, build.table, documents))


def bring_build(store: Store, base: str, build: Build, documents: Sequence[Document] = ()) -> None:
    """Let the table of a build, and the texts of these documents, be in the folder.

    Raises:
        IndexBrokenError: they are neither here nor in the bucket.
        ObjectsError: the bucket is out of reach, or has other bytes.
    """
    if store.bucket is None or build.table is None or _is_here(store, base, build, documents):
        return
    folder = base_folder(store, base)
    with one_at_a_time(folder / "fetch.lock", lambda: None):
        if _is_here(store, base, build, documents):
            return
        try:
            _fetch(store, base, build.table, build.snapshot)
        except NotFoundError:
            raise IndexBrokenError(
                "the index of this knowledge base is neither on this server nor in the bucket.",
                where=store.bucket,
                fix="Start the server whose folder has it, which moves it there; or restore the "
                "objects from an earlier version of the bucket. "
                f"Else {Step.ADD_KNOWLEDGE}, all of the documents at once.",
            ) from None
        except ObjectsAwayError as error:
            raise ObjectsAwayError(
                "the index of this knowledge base is not on this server yet, and the bucket "
                "cannot be reached.",
                where=error.where,
                fix=error.fix,
            ) from None


def drop_copy(store: Store, base: str, build: Build, documents: Sequence[Document]) -> bool:
    """Remove a table that could not be read, if the bucket has it otherwise: the fault may also be
    the query's or the machine's, and others search in it.

    Args:
        documents: of the build.
    """
    if store.bucket is None or build.table is None:
        return False
    row = archives.row_of(store, find_path(store, base, build.table, build.snapshot))
    try:
        there = archives.sha256_of_files(files_of(store, base, build.table, documents))
    except OSError:  # such as too many open files
        return False
    if row is None or there == row.sha256:
        return False
    tables_at(base_folder(store, base)).drop(build.table)
    return True


def files_of(store: Store, base: str, table: str, documents: Sequence[Document]) -> dict[str, Path]:
    """The files of a build by their paths in the folder of its knowledge base."""
    folder = base_folder(store, base)
    found = list(tables_at(folder).files(table))
    for document in documents:
        kind = kind_of(document.path)
        assert kind is not None  # it was read
        found.append(texts_at(folder).path(document.sha256, kind))
    return {path.relative_to(folder).as_posix(): path for path in found}


def _is_here(store: Store, base: str, build: Build, documents: Sequence[Document]) -> bool:
    folder = base_folder(store, base)
    assert build.table is not None
    if not tables_at(folder).has(build.table):
        return False
    kinds = ((document.sha256, kind_of(document.path)) for document in documents)
    return all(kind and texts_at(folder).has(sha256, kind) for sha256, kind in kinds)


def _fetch(store: Store, base: str, table: str, snapshot: str) -> None:
    """Texts first: where the table is, all of it is."""
    folder = base_folder(store, base)
    with archives.unpacked(store, find_path(store, base, table, snapshot)) as (files, _):
        for kind in ("texts", "tables"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for text in (files / "texts").glob("*"):
            os.replace(text, folder / "texts" / text.name)
        if not tables_at(folder).has(table):
            os.replace(tables_at(files).path(table), tables_at(folder).path(table))
