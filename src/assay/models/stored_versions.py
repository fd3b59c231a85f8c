"""A place where versions are kept, and the one that is a folder.

    place = FolderVersions(store.folder)
    place.keep(stored, {"adapter_model.safetensors": made / "adapter_model.safetensors", ...})
    with place.hold(stored) as folder: ...

A version is a folder `<state>/versions/<id>/`, with its files and `version.json`. What the
record in it means is up to `assay.models.versions`.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from assay.errors import ModelError
from assay.models.trust import read_json
from assay.store.files import new_folder, sha256_file, write_atomic, write_json

RECORD = "version.json"


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version as it is kept.

    Attributes:
        id, saved_at, owner: see `assay.models.versions.Version`.
        files: sha256 (hex) of each file's bytes, by name.
        record: of all that made it, as JSON.
        where: this is written down, for people.
    """

    id: str
    saved_at: str
    owner: str | None
    files: dict[str, str]
    record: dict[str, Any]
    where: str


class VersionPlace(Protocol):
    """A place for versions. A version is seen in it whole or not at all, and never changes."""

    address: str

    def ids(self, digits: str) -> Collection[str]:
        """The whole ids that begin with these digits."""

    def read(self, id: str) -> StoredVersion:
        """A version by its whole id.

        Raises:
            ModelError: it is gone, or what is written down of it cannot be read.
        """

    def read_all(self) -> list[StoredVersion]:
        """All, in no order; raises as `read` does."""

    def keep(self, version: StoredVersion, contents: Mapping[str, Path | str]) -> None:
        """Keep a version; one of its id that is there stays.

        Args:
            contents: of its files, by name: a file, which is copied, or a text.
        """

    def hold(self, version: StoredVersion) -> AbstractContextManager[Path]:
        """A folder on this disk with its files, each as its hash says, until the block ends.

        Raises:
            ModelError: a file is gone or has changed.
        """

    def lend(self, id: str, files: Path) -> Path:
        """A folder with the files that are held of a version, where another program may read them
        whenever it likes, also once nothing holds them any more.

        Args:
            files: what `hold` has given.
        """

    def remove(self, id: str) -> None:
        """Remove a version that nobody needs."""

    def count_bytes(self, ids: Collection[str]) -> int:
        """What versions take together; one that is not there takes nothing."""


class FolderVersions:
    """Versions as folders below `<state>/versions`."""

    def __init__(self, state: Path) -> None:
        self._root = versions_folder(state)
        self.address = str(self._root)

    def path(self, id: str) -> Path:
        """Where a version is, or would be."""
        return self._root / id

    def ids(self, digits: str = "") -> list[str]:
        """As `VersionPlace` says; drafts begin with a dot."""
        found = self._root.glob(f"{digits}*")
        return [f.name for f in found if f.is_dir() and not f.name.startswith(".")]

    def read(self, id: str) -> StoredVersion:
        """As `VersionPlace` says, by what is in `version.json`."""
        file = self.path(id) / RECORD
        raw = read_json(file)
        try:
            if any("/" in name for name in raw["files"]):
                raise ValueError("a file of another folder")
            return StoredVersion(
                id,
                str(raw["saved_at"]),
                raw.get("owner"),
                dict(raw["files"]),
                raw["record"],
                str(file),
            )
        except (KeyError, ValueError, TypeError):
            raise altered(file) from None

    def read_all(self) -> list[StoredVersion]:
        """As `VersionPlace` says, by each `version.json`."""
        return [self.read(id) for id in self.ids()]

    def keep(self, version: StoredVersion, contents: Mapping[str, Path | str]) -> None:
        """As `VersionPlace` says: the folder appears whole."""
        target = self.path(version.id)
        if target.exists():
            return
        with new_folder(target) as draft:
            write_contents(draft, contents)
            write_json(
                draft / RECORD,
                {
                    "id": version.id,
                    "saved_at": version.saved_at,
                    "owner": version.owner,
                    "files": version.files,
                    "record": version.record,
                },
            )
            for file in draft.iterdir():
                file.chmod(0o444)

    @contextmanager
    def hold(self, version: StoredVersion) -> Iterator[Path]:
        """As `VersionPlace` says: the folder itself."""
        folder = self.path(version.id)
        for name, digest in version.files.items():
            file = folder / name
            if not file.is_file() or sha256_file(file) != digest:
                raise altered(file)
        yield folder

    def lend(self, id: str, files: Path) -> Path:
        """As `VersionPlace` says: the folder itself."""
        return files

    def remove(self, id: str) -> None:
        """As `VersionPlace` says, also under who reads it."""
        shutil.rmtree(self.path(id), ignore_errors=True)

    def count_bytes(self, ids: Collection[str]) -> int:
        """As `VersionPlace` says, with `version.json`."""
        return sum(_bytes(file) for id in ids for file in self.path(id).glob("*"))


def versions_folder(state: Path) -> Path:
    """Where versions are that are kept in the folder."""
    return state / "versions"


def write_contents(folder: Path, contents: Mapping[str, Path | str]) -> None:
    """Write files into a folder, each a copy of another or a text."""
    for name, content in contents.items():
        if isinstance(content, Path):
            shutil.copyfile(content, folder / name)
        else:
            write_atomic(folder / name, content)


def altered(where: object) -> ModelError:
    """That something of a version is not what was saved."""
    return ModelError(
        "this file has changed since it was saved.",
        where=str(where),
        fix="Restore it from a backup, or train the version again.",
    )


def _bytes(file: Path) -> int:
    """0 where it was removed meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
