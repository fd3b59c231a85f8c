"""The files of clients move to another place: from the folder to a bucket, back, or to another one.

    store.bucket = "s3://my-bucket/support"     # None: the folder
    moved = move_objects(store, progress)

Every object is written to the new place and read back there against its SHA-256; then one
transaction says that the new place is the one. Until then the old one is, and who begins again goes
on behind what is there. The old place keeps all, under a name by which nothing finds it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from assay.errors import NotFoundError, ObjectsError, StateError
from assay.progress import Progress
from assay.store import local_copies, shared_files
from assay.store.bucket import Bucket
from assay.store.files import draft_in, name_of_left, sha256_file
from assay.store.object_place import BEGUN, FOLDER, MOVE_LOCK
from assay.store.objects import FolderObjects, Objects, damaged, sha256_of
from assay.store.store import Store
from assay.store.stored_files import object_name
from assay.store.tables import (
    BlobRow,
    FileRow,
    SettingRow,
    SharedFileRow,
    TrainedVersionRow,
    UploadPartRow,
    UploadRow,
)
from assay.store.uploads import part_name

MOVING = "objects_moving"
"""The setting with the bucket that objects are being moved to, and the name that it was given."""
_BATCH = 500
_FOLDERS = ("files", "uploads")


@dataclass(frozen=True, slots=True)
class ObjectsMove:
    """What was done.

    Attributes:
        source, target: where objects were and are, for people.
        objects, bytes: that are there.
        missing: names of objects that were not at the old place either.
        left: what is still at the old place, and how it is deleted.
    """

    source: str
    target: str
    objects: int
    bytes: int
    missing: tuple[str, ...]
    left: str


@dataclass(frozen=True, slots=True)
class _Object:
    """An object.

    Attributes:
        place: its name at the new place.
    """

    name: str
    bytes: int
    sha256: str | None
    place: str


def count_objects(store: Store) -> tuple[int, int]:
    """How many files clients have, and their bytes."""
    with store.session() as session:
        count, size = session.execute(
            select(func.count(), func.coalesce(func.sum(FileRow.bytes), 0)).select_from(FileRow)
        ).one()
        return int(count), int(size)


def move_objects(
    store: Store, progress: Progress, copy_others: Callable[[], Sequence[str]] = tuple
) -> ObjectsMove | None:
    """Let the objects of a folder be where `store.bucket` says.

    Nobody else may use the state, see `assay.store.exclusive_use`.

    Args:
        copy_others: called where objects go to the folder: puts there what rooms above keep
            (versions, knowledge bases), of which no row tells afterwards, and returns the names
            of those that are gone.

    Returns:
        None where they are there already.

    Raises:
        ObjectsError: the new place cannot be used, or an object is damaged; all is as it was.
        StateError: the disk has no room, or somebody has kept or removed something meanwhile.
    """
    begun = store.setting(BEGUN)
    if begun == store.bucket:
        return None
    with store.lock(MOVE_LOCK, _refuse_second):
        with store.session() as session:
            known = _digest_rows(session)
        source: Objects = FolderObjects(store.folder) if begun is None else _owned(store, begun)
        target: Objects
        if store.bucket is None:
            name, target = None, FolderObjects(store.folder)
            _check_room(store, source, target)
            missing = list(copy_others())
        else:
            name, target = _claimed(store, store.bucket)
            missing = []
        count, size = count_objects(store)
        moved = moved_bytes = 0
        with progress.task("Copying files", size / 1e6, "MB") as task:
            for one in _objects(store, source, target):
                try:
                    _copy(store, source, target, one)
                    moved, moved_bytes = moved + 1, moved_bytes + one.bytes
                except NotFoundError:
                    missing.append(one.name)
                task.advance(one.bytes / 1e6, files=f"{moved} of {count}")
        _switch(store, name, known)
        left = _leave(store, source)
    return ObjectsMove(source.address, target.address, moved, moved_bytes, tuple(missing), left)


def _refuse_second() -> None:
    raise StateError("another process is moving these files.", fix="Wait for its end.")


def _objects(store: Store, source: Objects, target: Objects) -> Iterator[_Object]:
    """What rows name: files, parts of uploads that are not over, and what is in buckets only."""
    last = -1
    while True:
        query = select(FileRow.key, FileRow.id, FileRow.bytes, FileRow.sha256)
        query = query.where(FileRow.key > last).order_by(FileRow.key).limit(_BATCH)
        with store.session() as session:
            found = session.execute(query).all()
        if not found:
            break
        last = found[-1].key
        for row in found:
            name = object_name(row.id)
            yield _Object(name, row.bytes, row.sha256, name)
    pending = select(UploadRow.id).where(UploadRow.status == "pending")
    with store.session() as session:
        parts = session.scalars(select(UploadPartRow).where(UploadPartRow.upload.in_(pending)))
        named = [(part_name(p.upload, p.id), p) for p in parts]
    yield from (_Object(name, part.bytes, part.sha256, name) for name, part in named)
    if isinstance(source, Bucket):
        yield from _blobs(store, is_to_folder=isinstance(target, FolderObjects))
        if isinstance(target, Bucket):
            yield from _versions(store)
            yield from _archives(store)


def _blobs(store: Store, *, is_to_folder: bool) -> Iterator[_Object]:
    with store.session() as session:
        found = session.execute(select(BlobRow.sha256, BlobRow.object, BlobRow.bytes)).all()
    for sha256, name, size in found:
        place = f"blobs/{sha256[:2]}/{sha256}" if is_to_folder else name
        yield _Object(name, size, sha256, place)


def _versions(store: Store) -> Iterator[_Object]:
    with store.session() as session:
        found = session.execute(select(TrainedVersionRow.object, TrainedVersionRow.files)).all()
    for object, files in found:
        for name, file in files.items():
            name = f"{object}/{name}"
            yield _Object(name, file["bytes"], file["sha256"], name)


def _archives(store: Store) -> Iterator[_Object]:
    with store.session() as session:
        for row in session.scalars(select(SharedFileRow)):
            yield _Object(row.object, row.bytes, row.sha256, row.object)


def _copy(store: Store, source: Objects, target: Objects, one: _Object) -> None:
    if one.sha256 is not None and sha256_of(target, one.place, one.bytes) == one.sha256:
        return  # of an earlier try
    with _file_of(store, source, one) as file:
        digest = sha256_file(file)
        if one.sha256 not in (None, digest) or file.stat().st_size != one.bytes:
            raise damaged(one.name, source.address)
        target.create(one.place, file)
    if sha256_of(target, one.place, one.bytes) != digest:
        raise damaged(one.place, target.address)


@contextmanager
def _file_of(store: Store, source: Objects, one: _Object) -> Iterator[Path]:
    """A file with the bytes of an object, on the folder's disk.

    Raises:
        NotFoundError: it is not there.
    """
    path = FolderObjects(store.folder).path(one.name)
    if isinstance(source, FolderObjects) or path.is_file():  # no server has put it there yet
        if not path.is_file():
            raise NotFoundError(f"there is no object {one.name}.", where=source.address)
        yield path
        return
    with draft_in(store.folder / "files") as draft:
        with draft.open("wb") as file:
            for chunk in source.read(one.name, one.bytes):
                file.write(chunk)
        yield draft


def _owned(store: Store, address: str) -> Bucket:
    bucket = Bucket(address)
    if bucket.owner() != store.setting(FOLDER):
        raise ObjectsError(
            "this bucket and prefix do not have the files of this folder.",
            where=address,
            fix="Check AWS_ENDPOINT_URL: it must name the server that had them.",
        )
    return bucket


def _claimed(store: Store, address: str) -> tuple[str, Bucket]:
    """A bucket that is this folder's, and the name that says so."""
    bucket = Bucket(address)
    bucket.probe()
    place, _, name = (store.setting(MOVING) or "").rpartition(" ")
    if place != address:
        unused = store.setting(FOLDER) if store.setting(BEGUN) is None else None
        name = unused or secrets.token_hex(16)
        store.set(MOVING, f"{address} {name}")  # first: whoever dies from here on can go on
    bucket.claim(name)
    if bucket.owner() != name:
        raise ObjectsError(
            "this bucket and prefix have the files of another folder, or files that have left.",
            where=address,
            fix="Choose another prefix (state.objects in assay.yaml). If nobody needs what is "
            f"there: aws s3 rm --recursive {address}",
        )
    return name, bucket


def _check_room(store: Store, source: Objects, target: FolderObjects) -> None:
    """That what is not there yet finds room in the folder, versions and archives as well."""
    places = [(one.place, one.bytes) for one in _objects(store, source, target)]
    with store.session() as session:
        versions = session.execute(select(TrainedVersionRow.id, TrainedVersionRow.files)).all()
        # As if none was here: one that is, is of no use to look into. Each archive lies beside
        # what is unpacked of it.
        archive = SharedFileRow.bytes
        total, largest = session.execute(select(func.sum(archive), func.max(archive))).one()
        needed = int(total or 0) + int(largest or 0)
    for id, files in versions:
        places += [(f"versions/{id}/{name}", file["bytes"]) for name, file in files.items()]
    for place, size in places:
        path = target.path(place)
        if not path.is_file() or path.stat().st_size != size:
            needed += size
    if needed > (free := shutil.disk_usage(store.folder).free):
        raise StateError(
            f"the disk has no room for the files: they have {needed} bytes, {free} are free.",
            where=str(store.folder),
            fix="Free some space and try again.",
        )


def _digest_rows(session: Session) -> str:
    """A hash of all rows that name objects."""
    digest = hashlib.sha256()
    part = UploadPartRow
    for query in (
        select(FileRow.id, FileRow.sha256).order_by(FileRow.id),
        select(part.upload, part.id).order_by(part.upload, part.id),
        select(BlobRow.sha256, BlobRow.object).order_by(BlobRow.sha256),
        select(TrainedVersionRow.id, TrainedVersionRow.object).order_by(TrainedVersionRow.id),
        select(SharedFileRow.path, SharedFileRow.object).order_by(SharedFileRow.path),
    ):
        for row in session.execute(query.execution_options(yield_per=_BATCH)):
            digest.update(f"{tuple(row)}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _switch(store: Store, name: str | None, known: str) -> None:
    """Say where the objects are, from one moment to the next.

    Args:
        known: `_digest_rows` of the rows whose objects were copied.

    Raises:
        StateError: they are others by now.
    """
    with store.session() as session:
        if store.engine.dialect.name == "postgresql":  # SQLite has one writer
            tables = text(
                "LOCK TABLE files, upload_parts, blobs, trained_versions, shared_files "
                "IN SHARE MODE"
            )
            session.execute(tables)
        gone = SettingRow.name.in_((MOVING, BEGUN, FOLDER))
        session.execute(delete(SettingRow).where(gone))  # from here on nobody else writes
        if _digest_rows(session) != known:
            raise StateError(
                "files were written or removed meanwhile.",
                where=store.address,
                fix="Stop all servers and workers and run the command again.",
            )
        if name is None:
            session.execute(delete(BlobRow))
            session.execute(delete(TrainedVersionRow))
            session.execute(delete(SharedFileRow))
        else:
            session.add(SettingRow(name=FOLDER, value=name))
            session.add(SettingRow(name=BEGUN, value=store.bucket))


def _leave(store: Store, source: Objects) -> str:
    """Put the old place away; returns what is left and how it is deleted."""
    if isinstance(source, Bucket):
        for kind in ("files", "blobs", "versions", shared_files.ORIGINS):
            shutil.rmtree(local_copies.folder_of(store, kind), ignore_errors=True)
        return (
            f"The old files are in {source.address}; when you do not need them any more: "
            f"aws s3 rm --recursive {source.address}"
        )
    kept = []
    for folder in (store.folder / name for name in _FOLDERS):
        if folder.exists():
            kept.append(name_of_left(folder))
            os.rename(folder, kept[-1])
    if not kept:
        return "Nothing is left there."
    there = " ".join(map(str, kept))
    return f"The old files are in {there}; when you do not need them any more: rm -r {there}"
