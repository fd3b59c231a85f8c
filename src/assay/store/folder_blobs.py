"""A place for blobs, and the one that is a folder: files `<2 digits>/<sha256>`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from assay.errors import AssayError
from assay.store.files import write_atomic


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
