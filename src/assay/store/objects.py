"""Objects: bytes of a name that are written once, appear whole or not at all, and never change.

    objects.create("files/file-1", draft)
    for chunk in objects.read("files/file-1", size): ...
    objects.remove(["files/file-1"])

They are in a folder (here) or in a bucket (`assay.store.bucket`); `assay.store.object_place` says
where those of a project are.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from assay.errors import NotFoundError, ObjectsError
from assay.store.files import publish, sha256_file

CHUNK = 1 << 20


class ObjectDamageError(ObjectsError):
    """An object is not what was written."""


class Objects(Protocol):
    """A place for objects.

    Attributes:
        address: where it is, for people.
    """

    address: str

    def create(self, name: str, draft: Path) -> None:
        """Keep what is in a draft of the same disk, which may be moved away.

        Raises:
            ObjectsError: something else of that name is there, which stays.
        """

    def read(self, name: str, size: int) -> Iterator[bytes]:
        """The bytes as they come, no more than `size`.

        Raises:
            NotFoundError: there is none of that name.
            ObjectsError: it has fewer bytes; or more, where that is seen: a hash decides.
        """

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects, whatever is below their names, and what was begun of them."""


class FolderObjects:
    """Objects as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, str(folder)

    def path(self, name: str) -> Path:
        """Where an object is, or would be.

        Raises:
            ObjectsError: the name, which may come from a row that somebody has changed, leads out
                of the folder.
        """
        if not all(part.strip(".") for part in name.split("/")):  # empty, or dots alone
            raise ObjectsError(
                f"{name!r} cannot be the name of an object.",
                where=self.address,
                fix="Restore the database from a backup: one of its rows was changed.",
            )
        return self.folder / name

    def create(self, name: str, draft: Path) -> None:
        """As `Objects` says: only where nothing is."""
        path = self.path(name)
        if not publish(draft, path) and sha256_file(path) != sha256_file(draft):
            raise taken(name, self.address)

    def read(self, name: str, size: int) -> Iterator[bytes]:
        """As `Objects` says, in chunks of 1 MiB."""
        try:
            file = self.path(name).open("rb")
        except FileNotFoundError:
            raise NotFoundError(f"there is no object {name}.") from None
        with file:
            left = size
            while chunk := file.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
        if left:
            raise damaged(name, self.address)

    def remove(self, names: Sequence[str]) -> None:
        """As `Objects` says, with all that is below."""
        for name in names:
            path = self.path(name)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def taken(name: str, address: str) -> ObjectsError:
    """That another object of a name is there."""
    return ObjectsError(f"there is another object {name} already.", where=address)


def sha256_of(objects: Objects, name: str, size: int) -> str | None:
    """SHA-256 (hex) of the bytes of an object; None: there is none, or not of that size.

    Raises:
        ObjectsError: it is out of reach.
    """
    digest = hashlib.sha256()
    try:
        for chunk in objects.read(name, size):
            digest.update(chunk)
    except (NotFoundError, ObjectDamageError):
        return None
    return digest.hexdigest()


def read_checked(objects: Objects, name: str, size: int, sha256: str | None) -> Iterator[bytes]:
    """The bytes of an object as they come; they count only once the last one has come.

    Args:
        sha256: that they must have (hex); None: it is not known.

    Raises:
        NotFoundError: there is none of that name.
        ObjectsError: it is out of reach, or at the end: not what was written.
    """
    digest = hashlib.sha256()
    for chunk in objects.read(name, size):
        digest.update(chunk)
        yield chunk
    if sha256 not in (None, digest.hexdigest()):
        raise damaged(name, objects.address)


def damaged(name: str, address: str) -> ObjectDamageError:
    """That an object is not what was written."""
    return ObjectDamageError(
        f"the object {name} was changed or damaged.",
        where=address,
        fix="Restore it from an earlier version of the bucket or from a backup.",
    )
