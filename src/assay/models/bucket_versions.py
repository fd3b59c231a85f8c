"""Versions in a bucket: their files are objects that a row of `trained_versions` names.

    versions/<random name>/<file>     objects; there before the row is, and as long as it is

Each server has copies of those that it has used. A version is seen once its row is there, so
nobody sees one of which an object is missing, whenever who writes it is killed.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from assay.errors import ModelError, NotFoundError
from assay.models.stored_versions import FolderVersions, StoredVersion, altered, write_contents
from assay.store import local_copies, unnamed_objects
from assay.store.local_copies import Original
from assay.store.object_place import MOVE_LOCK, objects_of
from assay.store.store import Store
from assay.store.tables import TrainedVersionRow

log = logging.getLogger("assay.models")

KIND = "versions"
"""Of copies."""
_Row = TrainedVersionRow
unnamed_objects.register(_Row, lambda row: row.object)


class BucketVersions:
    """See `VersionPlace`.

    Args:
        before: those that were kept in the folder before there was a bucket, until they are moved.
    """

    def __init__(self, store: Store, before: FolderVersions) -> None:
        assert store.bucket is not None
        self._store, self._before, self.address = store, before, store.bucket

    def ids(self, digits: str) -> set[str]:
        """As `VersionPlace` says, of rows and of the folder."""
        # The folder first: one that is moved in between has its row before its files go.
        here = self._before.ids(digits)
        with self._store.session() as session:
            return {*here, *session.scalars(select(_Row.id).where(_Row.id.startswith(digits)))}

    def read(self, id: str) -> StoredVersion:
        """As `VersionPlace` says: by its row, if there is one."""
        row = self._row(id)
        return self._read_before(id) if row is None else self._stored(row)

    def read_all(self) -> list[StoredVersion]:
        """As `VersionPlace` says, of rows and of the folder."""
        here = self._before.ids()
        with self._store.session() as session:
            found = {row.id: self._stored(row) for row in session.scalars(select(_Row))}
        return [*found.values(), *(self._read_before(id) for id in here if id not in found)]

    def keep(self, version: StoredVersion, contents: Mapping[str, Path | str]) -> None:
        """As `VersionPlace` says.

        Raises:
            ObjectsError: the bucket is out of reach.
        """
        if version.id in self.ids(version.id):
            return
        with local_copies.scratch(self._store) as draft:
            write_contents(draft, contents)
            self._add(version, draft)

    @contextmanager
    def hold(self, version: StoredVersion) -> Iterator[Path]:
        """As `VersionPlace` says.

        Raises:
            ObjectsError: it is not here, and the bucket is out of reach or has other bytes.
        """
        with ExitStack() as held:
            try:
                folder = held.enter_context(self._copies(version))
            except NotFoundError:  # it was in the folder, and is in the bucket now
                try:
                    folder = held.enter_context(self._copies(version))
                except NotFoundError:
                    raise ModelError(
                        "the files of this version are gone.",
                        where=version.where,
                        fix="Restore them in the bucket, or train the version again.",
                    ) from None
            yield folder

    def remove(self, id: str) -> None:
        """As `VersionPlace` says; copies that are in use stay until nobody uses them."""
        if self._before.path(id).exists():
            with self._store.lock(MOVE_LOCK):
                self._before.remove(id)
        gone = delete(_Row).where(_Row.id == id).returning(_Row.object, _Row.files)
        with self._store.session() as session:
            found = session.execute(gone).one_or_none()
            if found is not None:
                unnamed_objects.doom(session, [found.object])
        if found is not None:
            for name in found.files:
                local_copies.drop(self._store, KIND, _copy(id, name))
            local_copies.take_back(self._store, KIND, id)
            unnamed_objects.remove_doomed(self._store, [found.object])

    def lend(self, id: str, files: Path) -> Path:
        """As `VersionPlace` says: names of the copies, beside those that are held."""
        return local_copies.lend(self._store, KIND, id, files)

    def count_bytes(self, ids: Collection[str]) -> int:
        """As `VersionPlace` says; no object is looked at."""
        with self._store.session() as session:
            found = dict(session.execute(select(_Row.id, _Row.bytes).where(_Row.id.in_(ids))).all())
        return sum(found.values()) + self._before.count_bytes([i for i in ids if i not in found])

    def sweep(self) -> None:
        """Move those of the folder into the bucket; drop copies of those that were removed."""
        for id in self._before.ids():
            self._move(id)
        lent = local_copies.list_lent(self._store, KIND)  # before others are saved
        with self._store.session() as session:
            rows = session.execute(select(_Row.id, _Row.files)).all()
        known = {_copy(id, name) for id, files in rows for name in files}
        local_copies.sweep(local_copies.folder_of(self._store, KIND), known)
        for id in {*lent} - {id for id, _ in rows}:
            local_copies.take_back(self._store, KIND, id)

    def _move(self, id: str) -> None:
        with self._store.lock(MOVE_LOCK):
            if not self._before.path(id).exists():  # another process has moved or removed it
                return
            if self._row(id) is None:
                try:
                    version = self._before.read(id)
                    with self._before.hold(version) as folder:
                        self._add(version, folder)
                except ModelError as error:
                    log.warning("a version stays in the folder: %s", error)
                    return
            self._before.remove(id)

    def _add(self, version: StoredVersion, folder: Path) -> None:
        """Create the objects, then the row; the files become the copies."""
        store, object = self._store, f"versions/{secrets.token_hex(16)}"
        unnamed_objects.announce(store, object)
        objects, files = objects_of(store), {}
        for name, digest in version.files.items():
            objects.create(f"{object}/{name}", folder / name)
            files[name] = {"sha256": digest, "bytes": (folder / name).stat().st_size}
        row = _Row(
            id=version.id,
            object=object,
            owner=version.owner,
            saved_at=version.saved_at,
            files=files,
            bytes=sum(file["bytes"] for file in files.values()),
            record=version.record,
        )
        try:
            with store.session() as session:
                session.add(row)
        except IntegrityError:  # another server has kept the same version since it was looked for
            unnamed_objects.discard(store, object)
        for name in version.files:
            local_copies.keep(store, KIND, _copy(version.id, name), folder / name)

    @contextmanager
    def _copies(self, version: StoredVersion) -> Iterator[Path]:
        row, before = self._row(version.id), self._before.path(version.id)
        originals = {
            name: Original(
                _copy(version.id, name),
                None if row is None else f"{row.object}/{name}",
                0 if row is None else row.files[name]["bytes"],
                digest,
                before / name,
                is_hashed=True,
            )
            for name, digest in version.files.items()
        }
        with local_copies.held_copies(self._store, KIND, originals) as folder:
            yield folder

    def _read_before(self, id: str) -> StoredVersion:
        """One that had no row a moment ago."""
        try:
            return self._before.read(id)
        except ModelError:
            if (row := self._row(id)) is None:
                raise
            return self._stored(row)  # it was moved in between

    def _row(self, id: str) -> TrainedVersionRow | None:
        with self._store.session() as session:
            return session.get(_Row, id)

    def _stored(self, row: TrainedVersionRow) -> StoredVersion:
        where = f"{self.address}/{row.object}"
        # They become paths, here and in the folder (`copy_to_folder`).
        if not re.fullmatch(r"[0-9a-f]{64}", row.id) or any("/" in name for name in row.files):
            raise altered(where)
        return StoredVersion(
            row.id,
            row.saved_at,
            row.owner,
            {name: file["sha256"] for name, file in row.files.items()},
            row.record,
            where,
        )


def _copy(id: str, name: str) -> str:
    """What the copy of a file is called."""
    return f"{id}.{name}"
