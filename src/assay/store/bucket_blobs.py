"""Blobs in a bucket, with copies on this disk of those that were read here.

Each is an object of a name of its own, which a row of `blobs` names: so two servers that keep the
same bytes at the same time do not write to one object, and none is removed that is read.
"""

from __future__ import annotations

import logging
import re
import secrets
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from assay.errors import NotFoundError
from assay.store import local_copies, unnamed_objects
from assay.store.files import draft_in, sha256_file
from assay.store.folder_blobs import FolderBlobs
from assay.store.local_copies import Original
from assay.store.object_place import MOVE_LOCK, objects_of
from assay.store.objects import sha256_of
from assay.store.store import Store
from assay.store.tables import BlobRow

log = logging.getLogger("assay.store")

KIND = "blobs"
"""Of copies."""
unnamed_objects.register(BlobRow, lambda row: row.object)


class BucketBlobs:
    """See `Blobs`.

    Args:
        before: those that were kept in the folder before there was a bucket, until they are moved.
    """

    def __init__(self, store: Store, before: FolderBlobs) -> None:
        self._store, self._before = store, before

    def put(self, name: str, data: bytes) -> None:
        """As `Blobs` says; an object that is gone or damaged is written anew.

        Raises:
            ObjectsError: the bucket is out of reach.
        """
        if self._before.has(name):
            return
        if (row := self._row(name)) is not None:
            if sha256_of(objects_of(self._store), row.object, row.bytes) == name:
                return
            self._forget(row)
        with draft_in(local_copies.folder_of(self._store, KIND)) as draft:
            draft.write_bytes(data)
            self._add(name, draft)

    def get(self, name: str) -> bytes | None:
        """As `Blobs` says.

        Raises:
            ObjectsError: the bucket is out of reach, or has other bytes.
        """
        if (data := self._before.get(name)) is not None:
            return data
        if (row := self._row(name)) is None:
            return None
        original = Original(
            name, row.object, row.bytes, name, self._before.path(name), is_hashed=True
        )
        try:
            with local_copies.held_copies(self._store, KIND, {name: original}) as folder:
                return (folder / name).read_bytes()
        except NotFoundError:  # as where a file is gone from the folder
            return None

    def has(self, name: str) -> bool:
        """As `Blobs` says; no object is looked at."""
        # The folder first: one that is moved in between has its row before its file goes.
        return self._before.has(name) or self._row(name) is not None

    def sweep(self) -> None:
        """Move those of the folder into the bucket; drop what a kill has left of copies."""
        for path in sorted(self._before.folder.glob("??/*")):
            if re.fullmatch(r"[0-9a-f]{64}", path.name):
                self._move(path)
        with self._store.session() as session:
            known = set(session.scalars(select(BlobRow.sha256)))
        local_copies.sweep(local_copies.folder_of(self._store, KIND), known)

    def _move(self, path: Path) -> None:
        with self._store.lock(MOVE_LOCK):
            if not path.is_file():  # another process has moved it
                return
            is_named = self._row(path.name) is not None
            if sha256_file(path) != path.name:
                if is_named:  # it would hide the object for ever
                    path.unlink()
                    return
                log.warning("%s was changed or damaged and stays where it is", path)
                return
            if is_named:
                local_copies.keep(self._store, KIND, path.name, path)
            else:
                self._add(path.name, path)

    def _add(self, name: str, draft: Path) -> None:
        """Create the object, then its row; the draft becomes the copy."""
        store, object = self._store, f"blobs/{secrets.token_hex(16)}"
        unnamed_objects.announce(store, object)
        objects_of(store).create(object, draft)
        try:
            with store.session() as session:
                session.add(BlobRow(sha256=name, object=object, bytes=draft.stat().st_size))
        except IntegrityError:  # another server has kept the same bytes since it was looked for
            unnamed_objects.discard(store, object)
        local_copies.keep(store, KIND, name, draft)

    def _forget(self, row: BlobRow) -> None:
        """Let a row go whose object is of no use, unless somebody has replaced it."""
        gone = delete(BlobRow).where(BlobRow.sha256 == row.sha256, BlobRow.object == row.object)
        with self._store.session() as session:
            if session.scalar(gone.returning(BlobRow.sha256)) is not None:
                unnamed_objects.doom(session, [row.object])
        unnamed_objects.remove_doomed(self._store, [row.object])

    def _row(self, name: str) -> BlobRow | None:
        with self._store.session() as session:
            return session.get(BlobRow, name)
