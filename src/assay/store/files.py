"""Files that are whole or not there: written beside their place, flushed, renamed; and locks."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from assay.errors import NotFoundError, StoreError, is_full

MOVED = ".moved-"
"""In the names of what an earlier place of the state has left: nobody looks there."""
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY


@contextmanager
def said_when_full(path: Path) -> Iterator[None]:
    """Raises a StoreError in the place of what anybody raises who finds the disk full."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if is_full(error):
            raise StoreError(
                "the disk is full; nothing was changed.",
                where=str(path),
                fix="Free some space and try again.",
            ) from None
        raise


@contextmanager
def new_file(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A place to write a file that appears at `path` whole when the block ends, else not at all.

    Args:
        private: only its owner may read it.
    """
    with said_when_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
        try:  # its name is known before it is there, so that Ctrl-C leaves nothing behind
            os.close(os.open(draft, _NEW, 0o600))
            yield draft
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            os.chmod(draft, 0o600 if private else 0o666 & ~_UMASK)
            os.replace(draft, path)
            sync_folder(path.parent)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Any]:
    """A binary file to write that takes the place of `path` when the block ends; see `new_file`."""
    with new_file(path, private=private) as draft, draft.open("wb") as file:
        yield file


def _read_umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


_UMASK = _read_umask()
"""Read once, before there are threads: it can only be read by setting it, for all of them."""


def sync_folder(folder: Path) -> None:
    """A rename is on disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes | str, *, private: bool = False) -> None:
    """Replace `path` by `data` (text as UTF-8), or leave it as it was; see `replacing`."""
    with replacing(path, private=private) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_atomic_lines(path: Path, lines: Iterable[str]) -> int:
    """Replace `path` by `lines` (each with its newline) as they come; returns how many."""
    count = 0
    with replacing(path) as file:
        for line in lines:
            file.write(line.encode())
            count += 1
    return count


def append_durable(path: Path, data: bytes, at: int | None = None) -> int:
    """Append to a private file and bring it to the disk; returns how many bytes it has.

    Where the disk is full, the file stays as long as it was, or as `at` says.

    Args:
        at: the bytes that count, behind which is written; others are dropped. None: all count.
    """
    with said_when_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            start = os.fstat(handle).st_size if at is None else at
            os.ftruncate(handle, start)
            os.lseek(handle, start, os.SEEK_SET)
            left = memoryview(data)
            try:
                while left:
                    left = left[os.write(handle, left) :]
            except OSError:
                os.ftruncate(handle, start)
                raise
            os.fsync(handle)
        finally:
            os.close(handle)
        if is_new:
            sync_folder(path.parent)
    return start + len(data)


def drop_cut_line(file: Path) -> None:
    """Cut off a last line without its end, which a killed process may have left."""
    if not file.exists():
        return
    with file.open("r+b") as lines:
        end = whole = lines.seek(0, os.SEEK_END)
        while whole > 0:
            start = max(0, whole - 2**16)
            lines.seek(start)
            at = lines.read(whole - start).rfind(b"\n")
            if at >= 0:
                whole = start + at + 1
                break
            whole = start
        if whole < end:
            lines.truncate(whole)
            os.fsync(lines.fileno())


@contextmanager
def draft_in(folder: Path) -> Iterator[Path]:
    """An empty file of its own to write, gone when the block ends unless it was moved away."""
    with said_when_full(folder):
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".draft-{secrets.token_hex(8)}.part"
        try:
            os.close(os.open(draft, _NEW, 0o600))
            yield draft
        finally:
            draft.unlink(missing_ok=True)


def publish(draft: Path, path: Path) -> bool:
    """Let a draft of the same disk appear at `path`, whole and on disk.

    Returns:
        False: there is something already, which stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("rb") as written:
        os.fsync(written.fileno())
    os.chmod(draft, 0o666 & ~_UMASK)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        os.replace(draft, path)
    sync_folder(path.parent)
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy on a disk without hard links; a target that is there
    stays.

    Raises:
        FileNotFoundError: there is no source.
    """
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except FileExistsError:
        return
    except OSError:
        with source.open("rb") as read_from, replacing(target) as copy:
            shutil.copyfileobj(read_from, copy)


def name_of_left(path: Path) -> Path:
    """Where something is put that has moved elsewhere, beside its place; see `MOVED`."""
    return path.with_name(f"{path.name}{MOVED}{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as indented JSON."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def new_folder(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A folder to fill that appears at `path` whole when the block ends, else not at all.

    A folder that is already there is replaced. A process that dies between the two renames of that
    leaves the old one beside, see `recover_folder`.

    Args:
        private: only its owner may look into it.
    """
    with said_when_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        outdated = draft.with_suffix(".old")
        try:
            if not private:  # as it was made
                os.chmod(draft, 0o777 & ~_UMASK)
            yield draft
            for file in draft.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            if path.exists():
                os.replace(path, outdated)
            os.replace(draft, path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            if not path.exists() and outdated.exists():
                os.replace(outdated, path)
            shutil.rmtree(outdated, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Put back the folder that a process was replacing when it died, and remove what else it left.

    Nobody may replace it meanwhile.
    """
    left = sorted(
        path.parent.glob(f".{glob.escape(path.name)}.*.old"), key=lambda old: old.stat().st_mtime
    )
    if left and not path.exists():
        os.replace(left.pop(), path)
    for outdated in (*left, *path.parent.glob(f".{glob.escape(path.name)}.*.part")):
        shutil.rmtree(outdated, ignore_errors=True)


def sha256_file(path: Path) -> str:
    """Sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp_of(file: Path) -> tuple[int, int]:
    """What changes with a file: when it was written, in nanoseconds, and its bytes.

    Raises:
        OSError: it cannot be looked at.
    """
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def folder_bytes(folder: Path, *, besides: str | None = None) -> int:
    """Bytes of all files under a folder, which others may change meanwhile.

    Args:
        besides: folders of this name are left out.
    """
    total = 0
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != besides]
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # moved or deleted in the meantime
                continue
    return total


@contextmanager
def one_at_a_time(file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock that `file` is; its folder is made.

    The lock ends with the process, however that ends.

    Args:
        waiting: called once where another process has it: says so.

    Raises:
        NotFoundError: whoever had it has removed the folder.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
    except FileNotFoundError:
        raise NotFoundError("it was removed meanwhile.") from None
    try:
        yield
    finally:
        lock.release()
