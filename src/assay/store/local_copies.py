"""Copies on this disk of objects in a bucket, for what reads files: checked, and bounded but for
those in use.

<state>/cache/<kind>/<id>    copies; those that were not used for longest are dropped
<state>/cache/held/<...>/    names of copies in use, which nobody drops; of lent ones it is the same
                             from process to process
<state>/cache/lent.lock      held by whoever fills or removes what is there
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from assay.errors import NotFoundError
from assay.store.files import draft_in, link_or_copy, said_when_full, sha256_file
from assay.store.object_place import objects_of
from assay.store.objects import damaged, read_checked
from assay.store.store import Store

CACHE_BYTES = 10 * 2**30
"""That the copies of a kind take together; one that is larger is kept alone."""
_ORPHANED_S = 3600.0  # bytes without a row that are older belong to nobody
_HELD_S = 7 * 86400.0  # what a process that died has held
_LENT_LOCK = "cache/lent.lock"
_in_use_here: set[Path] = set()
_fetching: WeakValueDictionary[Path, Lock] = WeakValueDictionary()
"""By copy, so that many who need one at the same time fetch it once."""


@dataclass(frozen=True, slots=True)
class Original:
    """What a copy is made of.

    Attributes:
        id: what the copy is called.
        object: its name; None: there is none yet, only what is at `before`.
        bytes: of the object.
        before: where the bytes are that were kept before there was a bucket, until they are moved.
        is_hashed: a copy counts only with the right hash each time it is used, not only when it is
            fetched.
    """

    id: str
    object: str | None
    bytes: int
    sha256: str
    before: Path
    is_hashed: bool = False


def folder_of(store: Store, kind: str) -> Path:
    """Where the copies of a kind are."""
    return store.folder / "cache" / kind


def keep(store: Store, kind: str, id: str, draft: Path) -> None:
    """Take a draft, whose bytes are known to be right, as the copy of an object."""
    folder = folder_of(store, kind)
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # swept, if it took hours: fetched when it is needed
        draft.replace(folder / id)
    _drop_oldest(folder, spare=id)


@contextmanager
def held_copies(store: Store, kind: str, originals: Mapping[str, Original]) -> Iterator[Path]:
    """A folder with copies that stay until the block ends, whatever is dropped or moved meanwhile.

    Args:
        originals: by the name of the copy in the folder.

    Raises:
        NotFoundError: there is no such object.
        ObjectsError: it is not what was written, or out of reach.
    """
    with scratch(store) as folder:
        for file, original in originals.items():
            _hold(store, folder_of(store, kind), original, folder / file)
        yield folder


@contextmanager
def scratch(store: Store) -> Iterator[Path]:
    """An empty folder on the disk of the copies, which is gone when the block ends."""
    held = _held_folder(store)
    held.mkdir(parents=True, exist_ok=True)
    with said_when_full(held), tempfile.TemporaryDirectory(dir=held) as name:
        folder = Path(name)
        _in_use_here.add(folder)
        try:
            yield folder
        finally:
            _in_use_here.discard(folder)


def lend(store: Store, kind: str, id: str, files: Path) -> Path:
    """A folder with the files of another, for a program that reads them whenever it likes, and may
    outlive this process: it stays for a week after the last process that has lent it has ended, and
    another one lends the same."""
    folder = _lent_folder(store, kind, id)
    with store.lock_here(_LENT_LOCK):
        for file in files.iterdir():
            with draft_in(folder) as draft:
                draft.unlink()
                link_or_copy(file, draft)
                draft.replace(folder / file.name)
        _in_use_here.add(folder)
    return folder


def drop(store: Store, kind: str, id: str) -> None:
    """Drop the copy of an object."""
    (folder_of(store, kind) / id).unlink(missing_ok=True)


def take_back(store: Store, kind: str, id: str) -> None:
    """Remove a folder that was lent, if there is one."""
    folder = _lent_folder(store, kind, id)
    with store.lock_here(_LENT_LOCK):
        _in_use_here.discard(folder)
        shutil.rmtree(folder, ignore_errors=True)


def list_lent(store: Store, kind: str) -> list[str]:
    """The ids of what was lent from here, by any process."""
    found = _held_folder(store).glob(_lent_folder(store, kind, "*").name)
    return [folder.name.removeprefix(f"{kind}.") for folder in found]


def sweep(folder: Path, known: Collection[str]) -> None:
    """Drop from a folder what nobody knows any more, also where another server has removed it.

    Args:
        known: the names that stay; others go an hour after they were last used.
    """
    for path in folder.iterdir() if folder.exists() else ():
        if path.name not in known:
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ORPHANED_S:
                    path.unlink()


def sweep_held(store: Store) -> None:
    """Remove what processes that died have held."""
    held = _held_folder(store)
    for folder in tuple(_in_use_here):  # some hold a model for as long as they serve it
        with suppress(FileNotFoundError):
            os.utime(folder)
    for folder in held.iterdir() if held.exists() else ():
        if _is_left(folder):
            with store.lock_here(_LENT_LOCK):
                if _is_left(folder):  # nobody has lent it anew at this moment
                    shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _HELD_S
    except FileNotFoundError:
        return False


def _held_folder(store: Store) -> Path:
    return store.folder / "cache" / "held"


def _lent_folder(store: Store, kind: str, id: str) -> Path:
    return _held_folder(store) / f"{kind}.{id}"


def _hold(store: Store, folder: Path, original: Original, mine: Path) -> None:
    copy, has_been_wrong = folder / original.id, False
    while True:
        place = original.before if original.before.exists() else copy
        try:
            link_or_copy(place, mine)
        except FileNotFoundError:
            if original.before.exists():  # it has come, or gone, in between
                continue
            with _fetching.setdefault(copy, Lock()):
                if not copy.exists():
                    _fetch(store, folder, original)
            continue
        with suppress(FileNotFoundError):
            os.utime(place)
        if _is_right(original, place, mine):
            return
        mine.unlink()
        if place is not copy or has_been_wrong:
            raise damaged(original.id, str(place))
        copy.unlink(missing_ok=True)  # a power cut or the disk has done that: fetched again
        has_been_wrong = True


def _is_right(original: Original, place: Path, mine: Path) -> bool:
    if original.is_hashed:
        return sha256_file(mine) == original.sha256
    return place == original.before or mine.stat().st_size == original.bytes


def _fetch(store: Store, folder: Path, original: Original) -> None:
    if original.object is None:
        raise NotFoundError(f"there is no {original.id} any more.")
    given = read_checked(objects_of(store), original.object, original.bytes, original.sha256)
    with draft_in(folder) as draft:
        with draft.open("wb") as file:
            file.writelines(given)
        draft.replace(folder / original.id)
    _drop_oldest(folder, spare=original.id)


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
