"""The whole state of a folder as one file, taken while it is in use, and put back in one step.

    backup(store, Path("monday.tar"))
    restore(Path("monday.tar"), Path("elsewhere/.assay"))

The database is copied by SQLite's online backup, first of all: what its rows point at (blobs,
versions, results) was written before them and never changes, so it is there when it is read
later, unless it was deleted meanwhile: its row is then of something that is not there. Files that
are replaced are replaced whole, so each is read as it was or as it is. Left out
are caches, exports (a version is exported again) and the work of unfinished trainings and
batches, which begin again after a restore.

The archive is a plain tar whose last member, `manifest.json`, names every other with its size and
sha256. What came from elsewhere is somebody else's file: nothing of it is unpacked by its own
word (names, links, devices, sizes), and nothing appears at its place before all of it is checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from assay import json_reader
from assay.errors import AssayError, UsageError
from assay.store.database import KEPT
from assay.store.files import MOVED, new_folder, one_at_a_time, recover_folder
from assay.store.restored_access import RestoredAccess, end_sessions
from assay.store.store import Store

MANIFEST = "manifest.json"
DATABASE = "assay.db"
LEFT_OUT = frozenset({"cache", "exports", "work", KEPT})
FORMAT = 1
MOST_FILES = 2_000_000
MOST_MANIFEST = 512 * 2**20
LONGEST_NAME = 1000
_REPLACED_WHOLE = ("split",)
_CHUNK = 1 << 20
_TRIES = 5


class BackupError(AssayError):
    """A backup cannot be made, or an archive is not one."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What an archive holds.

    Attributes:
        files, bytes: without the manifest.
        made_at: UTC, ISO 8601.
    """

    files: int
    bytes: int
    made_at: str


def backup(store: Store, to: Path) -> Backup:
    """Write the state to an archive that only its owner can read.

    Raises:
        UsageError: there is something at `to`, or it lies inside the state itself.
        BackupError: the database is not SQLite, it cannot be written there, or what is there
            changes too fast.
    """
    if store.engine.dialect.name != "sqlite":
        schema = f" --schema={store.schema}" if store.schema else ""
        raise BackupError(
            f"the database is {store.engine.dialect.name}, which `assay backup` does not cover.",
            where=store.address,
            fix=f"Use pg_dump{schema} for the database, then copy the folder {store.folder}.",
        )
    if to.exists():
        raise UsageError(f"{to} already exists.", fix="Choose another name.")
    if store.folder.resolve() in to.resolve().parents:
        raise UsageError(f"{to} is inside the state folder.", fix="Choose a path outside it.")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            before = _folders(store.folder)
            with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as name:
                draft = Path(name) / "backup.tar"
                made = _write(store, draft)
                if _folders(store.folder) != before:
                    continue  # replaced while it was read: its files may not belong together
                os.replace(draft, to)
                return made
    except (OSError, sqlite3.Error) as error:
        raise BackupError(
            f"the backup could not be written: {_reason(error)}.",
            where=str(to),
            fix="No file was left behind. Correct the cause and try again.",
        ) from None
    raise BackupError(
        "the examples were split again while the backup read them.",
        where=str(store.folder),
        fix="Try again in a moment.",
    )


def restore(
    file: Path, folder: Path, agree: Callable[[RestoredAccess], None] = lambda access: None
) -> Backup:
    """Put the state of an archive where none is; it appears whole or not at all.

    Sessions and sign-in links are ended. Keys and people are as they were when it was made.

    Args:
        agree: told, before anything appears, what lets somebody in; whatever it raises ends the
            restore.

    Raises:
        UsageError: there is state in `folder`.
        BackupError: the file is no backup, was cut short or changed, or cannot be written there.
    """
    lock = folder.parent / f"{folder.name}.lock"
    try:
        try:
            with one_at_a_time(lock, lambda: None):
                recover_folder(folder)  # a restore that died has left what it had unpacked
                return _restore(file, folder, agree)
        finally:
            lock.unlink(missing_ok=True)
    except OSError as error:
        raise BackupError(
            f"nothing was restored: {_reason(error)}.", where=str(error.filename or folder)
        ) from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _restore(file: Path, folder: Path, agree: Callable[[RestoredAccess], None]) -> Backup:
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            "the folder already has state, which a restore does not replace.",
            where=str(folder),
            fix=f"Stop what uses it, move it away (mv {folder} {folder}.old), and restore again.",
        )
    if not file.is_file():
        raise BackupError("there is no such file.", where=str(file))
    size = file.stat().st_size
    folder.parent.mkdir(parents=True, exist_ok=True)
    if size > shutil.disk_usage(folder.parent).free:
        raise BackupError(f"the disk has no room for {size} bytes.", where=str(folder.parent))
    with new_folder(folder, private=True) as draft:
        try:
            with tarfile.open(file, "r:") as archive:
                made = _unpack(archive, draft, size)
        except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
            raise _no_backup(file, str(error) or type(error).__name__) from None
        _check_database(draft / DATABASE, file)
        try:
            access = end_sessions(draft / DATABASE)
        except sqlite3.DatabaseError as error:
            raise _no_backup(file, f"its database is not one of Assay ({error})") from None
        agree(access)
    return made


def _folders(state: Path) -> list[int | None]:
    """Which of the folders that are replaced whole is there now."""
    paths = (state / name for name in _REPLACED_WHOLE)
    return [path.stat().st_ino if path.exists() else None for path in paths]


def _write(store: Store, draft: Path) -> Backup:
    listed: dict[str, dict[str, Any]] = {}
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with (
        os.fdopen(handle, "wb") as out,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        with tempfile.TemporaryDirectory(dir=draft.parent) as scratch:
            copy = Path(scratch) / DATABASE
            _copy_database(store, copy)
            _add(archive, DATABASE, copy, listed)
        for path in _files(store.folder):
            _add(archive, path.relative_to(store.folder).as_posix(), path, listed)
        body = json.dumps({"format": FORMAT, "made_at": made_at, "files": listed}).encode()
        member = tarfile.TarInfo(MANIFEST)
        member.size = len(body)
        archive.addfile(member, io.BytesIO(body))
        archive.close()
        out.flush()
        os.fsync(out.fileno())
    return Backup(len(listed), sum(entry["size"] for entry in listed.values()), made_at)


def _copy_database(store: Store, to: Path) -> None:
    source = store.engine.raw_connection()
    try:
        with sqlite3.connect(to) as target:
            origin = source.driver_connection
            assert isinstance(origin, sqlite3.Connection)
            origin.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, no log beside it
        target.close()
    finally:
        source.close()


def _files(state: Path) -> Iterator[Path]:
    """What belongs into a backup beside the database: no caches, no drafts, no locks, no links."""
    for path in sorted(state.iterdir()):
        left_out = path.name in LEFT_OUT or path.name.startswith(DATABASE) or _passing(path.name)
        left_out |= MOVED in path.name
        if left_out or path.is_symlink():
            continue
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from _below(path)


def _below(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if not _passing(name) and path.is_file() and not path.is_symlink():
                yield path


def _passing(name: str) -> bool:
    return name == "lock" or name.startswith(".") or name.endswith((".lock", ".part"))


def _add(
    archive: tarfile.TarFile, name: str, path: Path, listed: dict[str, dict[str, Any]]
) -> None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # deleted since it was listed
    with file:
        member = tarfile.TarInfo(name)
        member.size = os.fstat(file.fileno()).st_size
        member.mode = 0o600
        hashed = _HashedFile(file)
        archive.addfile(member, hashed)  # raises when the file is shorter than it was
    listed[name] = {"size": member.size, "sha256": hashed.digest.hexdigest()}


class _HashedFile:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """As a file."""
        data = self._file.read(size)
        self.digest.update(data)
        return data


class _BadArchiveError(ValueError):
    pass


def _unpack(archive: tarfile.TarFile, draft: Path, size: int) -> Backup:
    """Write the members, then hold them against the manifest, which comes last."""
    found: dict[str, dict[str, Any]] = {}
    manifest: bytes | None = None
    total = 0
    for member in archive:
        if manifest is not None:
            raise _BadArchiveError("the manifest is not its last file")
        if not member.isreg() or member.issparse():
            raise _BadArchiveError(f"{member.name!r} is not a regular file")
        total += member.size
        if member.size < 0 or total > size or len(found) >= MOST_FILES:
            raise _BadArchiveError("it lists more files or bytes than it can contain")
        content = archive.extractfile(member)
        assert content is not None
        if member.name == MANIFEST:
            if member.size > MOST_MANIFEST:
                raise _BadArchiveError("its manifest is too large")
            manifest = content.read()
            continue
        _check_name(member.name, found)
        target = draft / member.name
        if not target.is_relative_to(draft):
            raise _BadArchiveError(f"{member.name!r} is outside the archive's folder")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise _BadArchiveError(f"{member.name!r} is below a file") from None
        found[member.name] = _copy(content, target)
        if member.name.startswith("versions/"):
            target.chmod(0o444)
    if manifest is None:
        raise _BadArchiveError("it has no manifest, so it is incomplete")
    return _checked(json_reader.read(manifest), found)


def _check_name(name: str, found: dict[str, Any]) -> None:
    path = PurePosixPath(name)
    parts_are_plain = all(part and not part.startswith(".") for part in name.split("/"))
    if (
        not parts_are_plain
        or path.is_absolute()
        or len(name) > LONGEST_NAME
        or any(c in name for c in "\\\0")
        or path.parts[0] in LEFT_OUT
        or (name != DATABASE and name.startswith(DATABASE))
    ):
        raise _BadArchiveError(f"{name!r} is not a valid name in a backup")
    if name in found:
        raise _BadArchiveError(f"{name!r} appears twice")


def _copy(content: IO[bytes], target: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    try:
        with target.open("xb") as out:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
                size += len(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _BadArchiveError(f"{target.name!r} appears twice") from None
    return {"size": size, "sha256": digest.hexdigest()}


def _checked(manifest: Any, found: dict[str, dict[str, Any]]) -> Backup:
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _BadArchiveError(
            "its manifest has an unknown format; a newer version of Assay may read it"
        )
    if manifest.get("files") != found:
        listed = manifest.get("files") or {}
        names = [n for n in {*listed, *found} if listed.get(n) != found.get(n)]
        raise _BadArchiveError(f"{min(names)!r} differs from the manifest")
    if DATABASE not in found:
        raise _BadArchiveError("it contains no database")
    return Backup(
        len(found), sum(entry["size"] for entry in found.values()), str(manifest.get("made_at"))
    )


def _check_database(database: Path, file: Path) -> None:
    try:
        connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
        try:
            (found,) = connection.execute("PRAGMA quick_check").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise _no_backup(file, f"its database is damaged ({error})") from None
    if found != "ok":
        raise _no_backup(file, f"its database is damaged ({found})")


def _no_backup(file: Path, why: str) -> BackupError:
    return BackupError(
        f"the file is not a complete backup: {why}. Nothing was restored.",
        where=str(file),
        fix="Use another backup.",
    )
