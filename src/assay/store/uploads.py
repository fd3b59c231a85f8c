"""Files that come in parts: made, given parts in any order, completed or cancelled.

    uploads/<upload>/<part>      objects with the bytes, until the upload is over

The order of the parts is told when it is completed. Of two completions one wins; the file is there
in the same transaction that ends the upload, so a kill leaves a pending upload or a whole file.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update

from assay.errors import AssayError, NotFoundError, StateError, UsageError
from assay.store import stored_files, unnamed_objects
from assay.store.files import draft_in
from assay.store.object_place import objects_of
from assay.store.objects import read_checked
from assay.store.store import Store
from assay.store.stored_files import StoredBytes, StoredFile
from assay.store.tables import FileRow, UploadPartRow, UploadRow, now
from assay.store.tables.clock import database_time

UPLOAD_BYTES = 8 * 2**30
"""The largest file that comes in parts."""
PART_BYTES = 64 * 2**20
LIFETIME = timedelta(hours=1)
"""An upload that is not completed by then has expired."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is known of an upload.

    Attributes:
        bytes: that the file shall have.
        status: `pending`, `completed`, `cancelled` or `expired`.
        file: what it has become.
    """

    id: str
    project: str
    filename: str
    purpose: str
    bytes: int
    status: str
    created: datetime
    expires: datetime
    file: StoredFile | None


@dataclass(frozen=True, slots=True)
class UploadPart:
    """What is known of a part."""

    id: str
    upload: str
    created: datetime


def create(
    store: Store,
    project: str,
    filename: str,
    purpose: str,
    bytes: int,
    lifetime_s: int | None = None,
) -> Upload:
    """Begin an upload of so many bytes.

    Args:
        lifetime_s: after which the file itself expires; None: never.

    Raises:
        UsageError: too many bytes, or none.
    """
    if not 0 < bytes <= UPLOAD_BYTES:
        raise UsageError(f"an upload must have 1 to {UPLOAD_BYTES} bytes, not {bytes}.")
    row = UploadRow(
        id=f"upload_{secrets.token_hex(12)}",
        project=project,
        filename=filename,
        purpose=purpose,
        bytes=bytes,
        status="pending",
        lifetime_s=lifetime_s,
        created=database_time(),
        expires=database_time(LIFETIME),
    )
    with store.session() as session:
        session.add(row)
        session.flush()
        session.refresh(row)
    return _upload(row, None)


def find(store: Store, project: str, id: str) -> Upload:
    """An upload of a project.

    Raises:
        NotFoundError: there is none of that id in it.
    """
    with store.session() as session:
        row = session.get(UploadRow, id)
        if row is None or row.project != project:
            raise NotFoundError(f"no such upload: {id}")
        file = session.scalar(select(FileRow).where(FileRow.id == row.file)) if row.file else None
        return _upload(row, file)


def add_part(store: Store, project: str, id: str, chunks: Iterable[bytes]) -> UploadPart:
    """Give an upload a part.

    Raises:
        NotFoundError: there is no such upload.
        StateError: it is over.
        UsageError: the part is empty or too large, or all parts together are.
    """
    upload = _pending(store, project, id)
    row = UploadPartRow(id=f"part_{secrets.token_hex(12)}", upload=id, bytes=0, created=now())
    name, digest = part_name(id, row.id), hashlib.sha256()
    with draft_in(store.folder / "files") as draft:
        with draft.open("wb") as file:
            for chunk in chunks:
                row.bytes += len(chunk)
                if row.bytes > PART_BYTES:
                    raise UsageError(f"a part has at most {PART_BYTES} bytes.")
                digest.update(chunk)
                file.write(chunk)
        if not row.bytes:
            raise UsageError("the part is empty.")
        row.sha256 = digest.hexdigest()
        unnamed_objects.announce(store, name)
        objects_of(store).create(name, draft)
    try:
        with store.session() as session:
            # Against the end of the upload: it removes what it finds, or is found here. Before the
            # part is added, whose foreign key locks the same row less: two parts would wait for
            # each other.
            status = select(UploadRow.status).where(UploadRow.id == id).with_for_update()
            if session.scalar(status) != "pending":
                raise StateError("the upload is over.")
            session.add(row)
            session.flush()
            given = session.scalar(
                select(func.sum(UploadPartRow.bytes)).where(UploadPartRow.upload == id)
            )
            # A part that is sent again is one more, so there may be more bytes than the file has.
            if given is not None and given > 2 * upload.bytes + PART_BYTES:
                raise UsageError(
                    f"the parts have {given} bytes, but the upload was created for {upload.bytes}."
                )
    except AssayError:
        unnamed_objects.discard(store, name)
        raise
    return UploadPart(row.id, id, row.created)


def complete(
    store: Store, project: str, id: str, parts: Sequence[str], md5: str | None = None
) -> Upload:
    """Make the file of the parts, in this order.

    Args:
        md5: of the whole, hex; None is not checked.

    Raises:
        NotFoundError: there is no such upload.
        StateError: it is over.
        UsageError: a part that is not its own or comes twice, a wrong number of bytes, a wrong md5.
    """
    upload = _pending(store, project, id)
    with store.session() as session:
        query = select(UploadPartRow).where(UploadPartRow.upload == id)
        given = {row.id: row for row in session.scalars(query)}
    for part in parts:
        if part not in given:
            raise UsageError(f"the upload has no part {part}.")
    if len(set(parts)) < len(parts):
        raise UsageError("a part is named twice.")
    size = sum(given[part].bytes for part in parts)
    if size != upload.bytes:
        raise UsageError(
            f"the parts have {size} bytes, but the upload was created for {upload.bytes}."
        )
    try:
        joined = _joined(store, [given[part] for part in parts])
        written = stored_files.write(store, joined, UPLOAD_BYTES)
    except NotFoundError:  # ended meanwhile
        raise StateError("the upload is over.") from None
    try:
        if md5 is not None and written.md5 != md5.lower():
            raise UsageError(f"the file has the md5 {written.md5}, not {md5}.")
        _completed(store, upload, written)
    except AssayError:
        stored_files.discard(store, written.id)
        raise
    _remove_parts(store, id)
    return find(store, project, id)


def cancel(store: Store, project: str, id: str) -> Upload:
    """End an upload; no part can be added any more.

    Raises:
        NotFoundError: there is no such upload.
        StateError: it is over.
    """
    _pending(store, project, id)
    ended = (
        update(UploadRow)
        .where(UploadRow.id == id, UploadRow.status == "pending")
        .values(status="cancelled")
        .returning(UploadRow.id)
    )
    with store.session() as session:
        if session.scalar(ended) is None:
            raise StateError("the upload is over.")
        unnamed_objects.doom(session, [_parts_name(id)])
    _remove_parts(store, id)
    return find(store, project, id)


def sweep(store: Store) -> None:
    """Remove the parts of uploads that have expired."""
    late = UploadRow.status == "pending", UploadRow.is_late
    root = store.folder / "uploads"
    # Looked at first: an upload that begins meanwhile has its row before its folder.
    folders = list(root.iterdir()) if root.exists() else []
    with store.session() as session:
        ended = update(UploadRow).where(*late).values(status="expired").returning(UploadRow.id)
        over = list(session.scalars(ended))
        unnamed_objects.doom(session, [_parts_name(id) for id in over])
        pending = set(session.scalars(select(UploadRow.id).where(UploadRow.status == "pending")))
    for folder in folders:  # also parts that were kept here before there was a bucket
        if folder.name not in pending:
            shutil.rmtree(folder, ignore_errors=True)
    unnamed_objects.remove_doomed(store, [_parts_name(id) for id in over])


def _pending(store: Store, project: str, id: str) -> Upload:
    upload = find(store, project, id)
    if upload.status != "pending":
        raise StateError(f"the upload is {upload.status}.")
    return upload


def _joined(store: Store, parts: Sequence[UploadPartRow]) -> Iterator[bytes]:
    objects = objects_of(store)
    for part in parts:
        name = part_name(part.upload, part.id)
        yield from read_checked(objects, name, part.bytes, part.sha256)


def _completed(store: Store, upload: Upload, written: StoredBytes) -> None:
    with store.session() as session:
        lifetime = session.scalar(select(UploadRow.lifetime_s).where(UploadRow.id == upload.id))
        row = stored_files.row_of(
            written, upload.project, upload.filename, upload.purpose, lifetime
        )
        won = (
            update(UploadRow)
            .where(UploadRow.id == upload.id, UploadRow.status == "pending")
            .values(status="completed", file=row.id)
            .returning(UploadRow.id)
        )
        if session.scalar(won) is None:
            raise StateError("the upload is over.")
        session.add(row)
        unnamed_objects.doom(session, [_parts_name(upload.id)])


def _parts_name(id: str) -> str:
    return f"uploads/{id}"


def part_name(id: str, part: str) -> str:
    """What the object with the bytes of a part is called."""
    return f"{_parts_name(id)}/{part}"


unnamed_objects.register(UploadPartRow, lambda row: part_name(row.upload, row.id))


def _remove_parts(store: Store, id: str) -> None:
    unnamed_objects.remove_doomed(store, [_parts_name(id)])


def _upload(row: UploadRow, file: FileRow | None) -> Upload:
    return Upload(
        row.id,
        row.project,
        row.filename,
        row.purpose,
        row.bytes,
        "expired" if row.status == "pending" and row.is_late else row.status,
        row.created,
        row.expires,
        file.convert(StoredFile) if file else None,
    )
