"""Files that clients upload and jobs make, each of one project.

    <state>/files/<id>      the bytes; a row of `files` says what they are

A file is there when its row is: bytes are written first, and removed last. `sweep` removes what a
kill has left between the two.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, delete, or_, select

from assay.errors import NotFoundError, UsageError
from assay.store.files import replacing
from assay.store.store import Store
from assay.store.tables import FileRow, now

log = logging.getLogger("assay.store")

FILE_BYTES = 512 * 2**20
"""The largest file that comes in one request."""
MOST_LISTED = 10_000
_ORPHANED_S = 3600.0  # bytes without a row that are older belong to nobody


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a file.

    Attributes:
        purpose: what it is for, in OpenAI's words.
        bytes: its size.
        expires: when it is removed, or None.
    """

    id: str
    project: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    created: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes that are on disk and have no row yet."""

    id: str
    bytes: int
    sha256: str
    md5: str


def new_id() -> str:
    """An id that no file has."""
    return f"file-{secrets.token_hex(12)}"


def path_of(store: Store, id: str) -> Path:
    """Where the bytes of a file are."""
    return store.folder / "files" / id


def write(store: Store, chunks: Iterable[bytes], limit: int, id: str | None = None) -> StoredBytes:
    """Put bytes on disk as they come.

    Args:
        limit: at most so many.
        id: of the file; None makes one.

    Raises:
        UsageError: more than that.
    """
    id = id or new_id()
    size, sha256, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with replacing(path_of(store, id)) as file:
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise UsageError(f"the file is larger than {limit} bytes.", fix="Divide it.")
            sha256.update(chunk)
            md5.update(chunk)
            file.write(chunk)
    return StoredBytes(id, size, sha256.hexdigest(), md5.hexdigest())


def row_of(
    written: StoredBytes, project: str, filename: str, purpose: str, lifetime_s: int | None = None
) -> FileRow:
    """The row that makes written bytes a file, once it is added."""
    at = now()
    return FileRow(
        id=written.id,
        project=project,
        filename=filename,
        purpose=purpose,
        bytes=written.bytes,
        sha256=written.sha256,
        created=at,
        expires=at + timedelta(seconds=lifetime_s) if lifetime_s else None,
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
    gone = (
        delete(FileRow)
        .where(FileRow.id == id, FileRow.project == project, _alive())
        .returning(FileRow.id)
    )
    with store.session() as session:
        if session.scalar(gone) is None:
            raise NotFoundError(f"no such file: {id}")
    path_of(store, id).unlink(missing_ok=True)


def sweep(store: Store, forget: Callable[[str, str], None]) -> None:
    """Remove files that have expired, and bytes that a kill has left without a row.

    Args:
        forget: called with project and id of each that has expired, before it is removed: removes
            what was made of it.
    """
    late = FileRow.expires.is_not(None) & (FileRow.expires <= now())
    with store.session() as session:
        expired = session.execute(select(FileRow.project, FileRow.id).where(late)).all()
    for project, id in expired:
        try:
            forget(project, id)
        except Exception as error:  # of this one file; the others go, and it is tried again
            log.warning("%s has expired but could not be removed: %s", id, error)
            continue
        with store.session() as session:
            session.execute(delete(FileRow).where(FileRow.id == id))
    with store.session() as session:
        known = set(session.scalars(select(FileRow.id)))
    folder = store.folder / "files"
    for path in folder.iterdir() if folder.exists() else ():
        if path.name not in known and time.time() - path.stat().st_mtime > _ORPHANED_S:
            path.unlink(missing_ok=True)


def _alive() -> ColumnElement[bool]:
    return or_(FileRow.expires.is_(None), FileRow.expires > now())
