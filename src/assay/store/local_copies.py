"""Copies on this disk of objects in a bucket, for what reads files: checked, and bounded.

<state>/cache/files/<id>     copies; those that were not used for longest are dropped
<state>/cache/held/<...>/    names of copies in use, which nobody drops
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.store.files import draft_in, link_or_copy
from assay.store.objects import Objects, damaged
from assay.store.store import Store

CACHE_BYTES = 10 * 2**30
"""That copies take together; one that is larger is kept alone."""
_HELD_S = 7 * 86400.0  # what a process that died has held


def folder_of(store: Store) -> Path:
    """Where the copies of files are."""
    return store.folder / "cache" / "files"


def keep(store: Store, id: str, draft: Path) -> None:
    """Take a draft, whose bytes are known to be right, as the copy of an object."""
    folder = folder_of(store)
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # swept, if it took hours: fetched when it is needed
        draft.replace(folder / id)
    _drop_oldest(folder, spare=id)


@contextmanager
def held_copy(
    store: Store, objects: Objects, name: str, id: str, size: int, sha256: str, before: Path
) -> Iterator[Path]:
    """A copy of an object that stays until the block ends, whatever is dropped or moved meanwhile.

    Args:
        before: where the bytes are that were kept before there was a bucket, until they are moved.

    Raises:
        NotFoundError: there is no such object.
        ObjectsError: it is not what was written, or out of reach.
    """
    copy = folder_of(store) / id
    held = store.folder / "cache" / "held"
    held.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=held) as folder:
        mine = Path(folder) / id
        while not mine.exists():
            place = before if before.exists() else copy
            try:
                link_or_copy(place, mine)
                os.utime(place)
                if place is copy and mine.stat().st_size != size:  # a power cut has left it
                    mine.unlink()
                    raise FileNotFoundError
            except FileNotFoundError:
                if not mine.exists() and not before.exists():
                    _fetch(store, objects, name, id, size, sha256)
        yield mine


def drop(store: Store, id: str) -> None:
    """Drop the copy of an object."""
    (folder_of(store) / id).unlink(missing_ok=True)


def sweep_held(store: Store) -> None:
    """Remove what processes that died have held."""
    held = store.folder / "cache" / "held"
    for folder in held.iterdir() if held.exists() else ():
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _HELD_S:
                shutil.rmtree(folder, ignore_errors=True)


def _fetch(store: Store, objects: Objects, name: str, id: str, size: int, sha256: str) -> None:
    digest = hashlib.sha256()
    with draft_in(folder_of(store)) as draft:
        with draft.open("wb") as file:
            for chunk in objects.read(name, size):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != sha256:
            raise damaged(name, objects.address)
        keep(store, id, draft)


def _drop_oldest(folder: Path, spare: str) -> None:
    found = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if not path.name.startswith("."):
                at = path.stat()
                found.append((at.st_mtime, at.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= CACHE_BYTES:
            break
        if path.name != spare:
            path.unlink(missing_ok=True)
            total -= size
