"""Files that clients upload and jobs make, each of one project.

    files/<id>      the object with the bytes; a row of `files` says what they are

A file is there when its row is: its object is created first, and removed last. `sweep` removes what
a kill has left between the two (`assay.store.unnamed_objects`). Where objects are in a bucket, who
needs a file on disk gets a copy (`on_disk`).
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import Session

from assay.errors import NotFoundError, UsageError
from assay.store import local_copies, unnamed_objects
from assay.store.files import draft_in, sha256_file
from assay.store.local_copies import Original
from assay.store.object_place import MOVE_LOCK, objects_of
from assay.store.objects import FolderObjects, sha256_of
from assay.store.store import Store
from assay.store.tables import FileRow
from assay.store.tables.clock import database_time

log = logging.getLogger("assay.store")

FILE_BYTES = 512 * 2**20
"""The largest file that comes in one request."""
MOST_LISTED = 10_000
KIND = "files"
"""Of copies."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a file.

    Attributes:
        purpose: what it is for, in OpenAI's words.
        bytes: its size.
        scope: what a caller needs, beside `files`, to read it.
        expires: when it is removed, or None.
    """

    id: str
    project: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    scope: str | None
    created: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes that are written and have no row yet."""

    id: str
    bytes: int
    sha256: str
    md5: str


def new_id() -> str:
    """An id that no file has."""
    return f"file-{secrets.token_hex(12)}"


def object_name(id: str) -> str:
    """What the object with the bytes of a file is called."""
    return f"files/{id}"


unnamed_objects.register(FileRow, lambda row: object_name(row.id))


def path_of(store: Store, id: str) -> Path:
    """Where the bytes of a file are while files are in the folder; see `on_disk`."""
    return store.folder / "files" / id


@contextmanager
def on_disk(store: Store, file: StoredFile) -> Iterator[Path]:
    """A file with the bytes, to be read until the block ends.

    Raises:
        NotFoundError: the bytes are gone.
        ObjectsError: they are damaged, or in a bucket that is out of reach.
    """
    path, objects = path_of(store, file.id), objects_of(store)
    if isinstance(objects, FolderObjects):
        if not path.is_file():
            raise NotFoundError(f"no such file: {file.id}")  # restored from a backup without it
        yield path
    else:
        original = Original(file.id, object_name(file.id), file.bytes, file.sha256, path)
        with local_copies.held_copies(store, KIND, {file.id: original}) as folder:
            yield folder / file.id


def write(store: Store, chunks: Iterable[bytes], limit: int) -> StoredBytes:
    """Write bytes as they come; whoever gives them no row calls `discard`.

    Args:
        limit: at most so many.

    Raises:
        UsageError: more than that.
        ObjectsError: the bucket is out of reach.
    """
    id = new_id()
    name, objects = object_name(id), objects_of(store)
    size, sha256, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with draft_in(store.folder / "files") as draft:
        with draft.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise UsageError(f"the file is larger than {limit} bytes.", fix="Divide it.")
                sha256.update(chunk)
                md5.update(chunk)
                file.write(chunk)
        unnamed_objects.announce(store, name)
        objects.create(name, draft)
        if not isinstance(objects, FolderObjects):
            local_copies.keep(store, KIND, id, draft)
    return StoredBytes(id, size, sha256.hexdigest(), md5.hexdigest())


def discard(store: Store, id: str) -> None:
    """Remove written bytes that get no row."""
    unnamed_objects.discard(store, object_name(id))
    local_copies.drop(store, KIND, id)


def row_of(
    written: StoredBytes,
    project: str,
    filename: str,
    purpose: str,
    lifetime_s: int | None = None,
    scope: str | None = None,
) -> FileRow:
    """The row that makes written bytes a file, once it is added.

    Its times are the database's: they are known when it has been read again.
    """
    return FileRow(
        id=written.id,
        project=project,
        filename=filename,
        purpose=purpose,
        bytes=written.bytes,
        sha256=written.sha256,
        scope=scope,
        created=database_time(),
        expires=database_time(timedelta(seconds=lifetime_s)) if lifetime_s else None,
    )


def keep(
    store: Store,
    project: str,
    chunks: Iterable[bytes],
    filename: str,
    purpose: str,
    *,
    lifetime_s: int | None = None,
    limit: int = FILE_BYTES,
) -> StoredFile:
    """Keep a file.

    Raises:
        UsageError: it is larger than `limit` bytes.
    """
    row = row_of(write(store, chunks, limit), project, filename, purpose, lifetime_s)
    with store.session() as session:
        session.add(row)
        session.flush()
        session.refresh(row)
    return row.convert(StoredFile)


def find(store: Store, project: str, id: str) -> StoredFile:
    """A file of a project.

    Raises:
        NotFoundError: there is none of that id in it, or it has expired.
    """
    query = select(FileRow).where(FileRow.id == id, FileRow.project == project, _alive())
    with store.session() as session:
        row = session.scalar(query)
        if row is None:
            raise NotFoundError(f"no such file: {id}")
        return row.convert(StoredFile)


def files(
    store: Store,
    project: str,
    *,
    purpose: str | None = None,
    after: str | None = None,
    limit: int = MOST_LISTED,
    newest_first: bool = True,
) -> tuple[list[StoredFile], bool]:
    """Files of a project, and whether there are more behind them.

    Args:
        after: id of a file; those behind it in the order are listed.

    Raises:
        NotFoundError: there is no file `after`.
    """
    query = select(FileRow).where(FileRow.project == project, _alive())
    if purpose is not None:
        query = query.where(FileRow.purpose == purpose)
    with store.session() as session:
        if after is not None:
            mark = session.scalar(
                select(FileRow.key).where(FileRow.id == after, FileRow.project == project)
            )
            if mark is None:
                raise NotFoundError(f"no such file: {after}")
            query = query.where(FileRow.key < mark if newest_first else FileRow.key > mark)
        order = FileRow.key.desc() if newest_first else FileRow.key
        rows = session.scalars(query.order_by(order).limit(limit + 1)).all()
        return [row.convert(StoredFile) for row in rows[:limit]], len(rows) > limit


def remove(store: Store, project: str, id: str) -> None:
    """Forget a file, then its bytes.

    Raises:
        NotFoundError: there is none of that id in the project.
    """
    with store.session() as session:
        if not forget_rows(session, FileRow.id == id, FileRow.project == project, _alive()):
            raise NotFoundError(f"no such file: {id}")
    remove_bytes(store, [id])


def forget_rows(session: Session, *which: ColumnElement[bool]) -> list[str]:
    """Forget files in a transaction, after which `remove_bytes` removes what they had.

    Returns:
        Their ids.
    """
    gone = list(session.scalars(delete(FileRow).where(*which).returning(FileRow.id)))
    unnamed_objects.doom(session, [object_name(id) for id in gone])
    return gone


def remove_bytes(store: Store, ids: Sequence[str]) -> None:
    """Remove the bytes of files that were forgotten; those that cannot be now go later."""
    for id in ids:
        path_of(store, id).unlink(missing_ok=True)
        local_copies.drop(store, KIND, id)
    unnamed_objects.remove_doomed(store, [object_name(id) for id in ids])


def sweep(store: Store, forget: Callable[[str, str], None]) -> None:
    """Remove files that have expired, and bytes that a kill has left without a row.

    Files that were kept in the folder move to the bucket, where there is one now.

    Args:
        forget: called with project and id of each that has expired, before it is removed: removes
            what was made of it.
    """
    late = FileRow.expires.is_not(None) & (FileRow.expires <= database_time())
    with store.session() as session:
        expired = session.execute(select(FileRow.project, FileRow.id).where(late)).all()
    for project, id in expired:
        try:
            forget(project, id)
        except Exception as error:  # of this one file; the others go, and it is tried again
            log.warning("%s has expired but could not be removed: %s", id, error)
            continue
        with store.session() as session:
            forget_rows(session, FileRow.id == id)
        remove_bytes(store, [id])
    unnamed_objects.collect(store)
    local_copies.sweep_held(store)
    _sweep_disk(store)


def _sweep_disk(store: Store) -> None:
    """Bytes on this disk whose row is gone, also where another server has deleted it."""
    folder = store.folder / "files"
    paths = list(folder.iterdir()) if folder.exists() else []
    with store.session() as session:
        known = set(session.scalars(select(FileRow.id)))
    for path in paths if store.bucket is not None else ():
        if path.name in known:
            _move(store, path)
    for place in (folder, local_copies.folder_of(store, KIND)):
        local_copies.sweep(place, known)


def _move(store: Store, path: Path) -> None:
    """Put the bytes of a file into the bucket that were kept in the folder before."""
    id, name, objects = path.name, object_name(path.name), objects_of(store)
    known = select(FileRow).where(FileRow.id == id)
    with store.lock(MOVE_LOCK):
        if not path.is_file():  # another process has moved it
            return
        with store.session() as session:
            row = session.scalar(known)
        if row is not None and sha256_of(objects, name, row.bytes) == row.sha256:
            # A kill has left it here: the object is announced no more, which would remove it.
            with store.session() as session:
                if session.scalar(known.with_for_update()) is not None:
                    unnamed_objects.forget(session, name)
            path.unlink()
            return
        if row is not None and sha256_file(path) != row.sha256:
            log.warning("%s was changed or damaged and stays where it is", path)
            return
        unnamed_objects.announce_again(store, name)
        objects.create(name, path)
        with store.session() as session:
            is_known = session.scalar(known.with_for_update()) is not None
            if is_known:
                unnamed_objects.take(session, name)
        if is_known:
            local_copies.keep(store, KIND, id, path)
    if not is_known:  # deleted meanwhile
        path.unlink(missing_ok=True)
        discard(store, id)


def _alive() -> ColumnElement[bool]:
    return or_(FileRow.expires.is_(None), FileRow.expires > database_time())
