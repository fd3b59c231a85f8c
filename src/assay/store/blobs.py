"""Blobs: bytes that are known by their content, and never change.

    name = blobs.put(store, data)
    data = blobs.get(store, name)

They are files `<state>/blobs/<2 digits>/<sha256>`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from assay.errors import AssayError
from assay.store.files import write_atomic
from assay.store.store import Store


class Blobs(Protocol):
    """A place for blobs."""

    def put(self, name: str, data: bytes) -> None:
        """Keep bytes under their sha256 (hex), unless they are kept."""

    def get(self, name: str) -> bytes | None:
        """The bytes that are kept under a sha256, which they have; None: there are none.

        Raises:
            AssayError: they have been changed.
        """

    def has(self, name: str) -> bool:
        """Whether something is kept under a sha256."""


class FolderBlobs:
    """Blobs as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Where a blob is, or would be."""
        return self.folder / name[:2] / name

    def put(self, name: str, data: bytes) -> None:
        """As `Blobs` says, flushed to the disk."""
        path = self.path(name)
        if not path.exists():
            write_atomic(path, data)

    def get(self, name: str) -> bytes | None:
        """As `Blobs` says; the file is read whole."""
        path = self.path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest() != name:
            raise AssayError(
                "a stored file was changed or damaged.",
                where=str(path),
                fix="Restore it from a backup.",
            )
        return data

    def has(self, name: str) -> bool:
        """As `Blobs` says; nothing is read."""
        return self.path(name).exists()


def put(store: Store, data: bytes) -> str:
    """Keep bytes by their content; returns their sha256 (hex)."""
    name = hashlib.sha256(data).hexdigest()
    _blobs_of(store).put(name, data)
    return name


def get(store: Store, name: str) -> bytes:
    """The bytes kept under a sha256.

    Raises:
        AssayError: there are none, or they have been changed.
    """
    data = _blobs_of(store).get(name)
    if data is None:
        raise AssayError(f"there is no blob {name[:12]}.", where=str(store.folder))
    return data


def has(store: Store, name: str) -> bool:
    """Whether something is kept under a sha256."""
    return _blobs_of(store).has(name)


def _blobs_of(store: Store) -> Blobs:
    return FolderBlobs(store.folder / "blobs")
