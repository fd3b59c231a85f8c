"""Several files as one object: an archive that is the same for the same files.

    packed = pack(store, {"train.jsonl": folder / "train.jsonl", ...})
    name(session, "split", packed)              # a row names it from this transaction on
    with unpacked(store, "split") as folder: ...

The archive is a tar in the order of names, without times and owners. So what is on a disk can be
held against the SHA-256 of its row.
"""

from __future__ import annotations

import hashlib
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from assay.errors import NotFoundError
from assay.store import local_copies, unnamed_objects
from assay.store.files import draft_in
from assay.store.object_place import objects_of
from assay.store.objects import read_checked
from assay.store.store import Store
from assay.store.tables import SharedFileRow

DRAFTS = "archives"
"""In `<state>/cache`."""
unnamed_objects.register(SharedFileRow, lambda row: row.object)


@dataclass(frozen=True, slots=True)
class Archive:
    """An object that was made of files, and its bytes."""

    object: str
    bytes: int
    sha256: str


def pack(store: Store, files: Mapping[str, Path]) -> Archive:
    """Write files, by their names in the archive, to an object that a row has to name in time.

    Raises:
        ObjectsError: the bucket is out of reach.
    """
    object = f"archives/{secrets.token_hex(16)}"
    with draft_in(store.folder / "cache" / DRAFTS) as draft:
        with draft.open("wb") as file:
            sink = _Sink(file)
            _write(sink, files)
        unnamed_objects.announce(store, object)
        objects_of(store).create(object, draft)
    return Archive(object, sink.bytes, sink.digest.hexdigest())


def sha256_of_files(files: Mapping[str, Path]) -> str | None:
    """What the archive of files would have; None: one is missing."""
    sink = _Sink(None)
    try:
        _write(sink, files)
    except FileNotFoundError:
        return None
    return sink.digest.hexdigest()


def name(session: Session, path: str, archive: Archive) -> list[str]:
    """Let what is at a path of the state be an archive from this transaction on.

    Returns:
        Objects that are to be removed after it, see `unnamed_objects.remove_doomed`.
    """
    gone = forget(session, path)
    session.add(
        SharedFileRow(path=path, object=archive.object, bytes=archive.bytes, sha256=archive.sha256)
    )
    return gone


def forget(session: Session, path: str) -> list[str]:
    """Let a path of the state have no archive any more; returns as `name`."""
    row = delete(SharedFileRow).where(SharedFileRow.path == path)
    gone = list(session.scalars(row.returning(SharedFileRow.object)))
    unnamed_objects.doom(session, gone)
    return gone


def forget_below(store: Store, folder: str) -> None:
    """The same of all paths below one; the archives are removed."""
    rows = rows_below(store, folder)
    if not rows:
        return
    with store.session() as session:
        gone = [object for row in rows for object in forget(session, row.path)]
    unnamed_objects.remove_doomed(store, gone)


def row_of(store: Store, path: str) -> SharedFileRow | None:
    """What is known of the archive of a path; None: there is none."""
    with store.session() as session:
        return session.get(SharedFileRow, path)


def rows_below(store: Store, folder: str | None = None) -> list[SharedFileRow]:
    """The same of all paths below one, in their order; None: of all."""
    query = select(SharedFileRow).order_by(SharedFileRow.path)
    if folder is not None:
        query = query.where(SharedFileRow.path.startswith(f"{folder}/", autoescape=True))
    with store.session() as session:
        return list(session.scalars(query))


@contextmanager
def unpacked(store: Store, path: str) -> Iterator[tuple[Path, SharedFileRow]]:
    """A folder with the files of a path's archive until the block ends, and its row.

    They are on the disk of the state, whole and checked, and may be moved away.

    Raises:
        NotFoundError: no row names one, or its object is gone.
        ObjectsError: it is out of reach, or not what was written.
    """
    row = row_of(store, path)
    with local_copies.scratch(store) as folder:
        archive = folder / "archive"
        while True:
            if row is None:
                raise NotFoundError(f"there is no {path} any more.")
            try:
                with archive.open("wb") as file:
                    file.writelines(
                        read_checked(objects_of(store), row.object, row.bytes, row.sha256)
                    )
                break
            except NotFoundError:
                before, row = row.object, row_of(store, path)
                if row is not None and row.object == before:
                    raise
        with tarfile.open(archive, "r:") as tar:
            tar.extractall(folder / "files", filter="data")
        archive.unlink()
        yield folder / "files", row


class _Sink:
    """Counts and hashes what is written to a file, or to none."""

    def __init__(self, file: Any) -> None:
        self._file, self.bytes, self.digest = file, 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        self.digest.update(data)
        return len(data) if self._file is None else self._file.write(data)

    def tell(self) -> int:
        return self.bytes


def _write(sink: Any, files: Mapping[str, Path]) -> None:
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            with files[name].open("rb") as file:
                member = tarfile.TarInfo(name)
                member.size, member.mode = files[name].stat().st_size, 0o600
                tar.addfile(member, file)
