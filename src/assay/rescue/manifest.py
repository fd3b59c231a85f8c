"""What a folder holds already: a line for each list and file, added once that is on disk.

A line is brought to the disk before anything relies on it; of several for one thing the last
counts. A line that a killed process has cut is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from assay import json_reader
from assay.errors import Step, StoreError, UsageError
from assay.rescue.folder import MANIFEST, PART, VERSION, tidy
from assay.rescue.owner import Owner
from assay.store.files import append_durable, write_atomic

Status = Literal["complete", "partial", "failed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A list or a file.

    Attributes:
        id: whose it is: of the job, the file, the eval, the run; "" for lists of the account.
        path: from the folder; None: nothing of it is there.
        status: `partial` lists go on at `after`; `failed` ones are tried again by the next run.
        count: objects of a list.
        after: the id behind which a list that is not whole goes on; None: at its start.
        is_read: all of a list is there, though not yet under its name.
        reason: why it was not fetched.
        note: what is unusual about it.
    """

    kind: str
    id: str
    path: str | None
    status: Status
    bytes: int = 0
    sha256: str | None = None
    count: int | None = None
    after: str | None = None
    is_read: bool = False
    reason: str | None = None
    http_status: int | None = None
    note: str | None = None
    fetched_at: str | None = None


class Manifest:
    """The lines of a folder's manifest. Safe for many threads of one process.

    Raises:
        StoreError: it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._file, self._lock = folder, folder / MANIFEST, Lock()
        self._entries: dict[tuple[str, str], Entry] = {}
        self.account: dict[str, Any] = {}
        if self._file.exists():
            self._load()

    def bind(self, owner: Owner, *, same_account: bool = False) -> None:
        """Say whose folder this is, once, and before anything else is written to it.

        As long as nothing was fetched, as with a key that was mistyped, it is nobody's.

        Args:
            same_account: another key, organisation or project is the same account's all the same.

        Raises:
            UsageError: it is another account's.
        """
        is_held = any(
            one.status == "complete" or one.bytes or one.count for one in self._entries.values()
        )
        if not is_held:
            self.account = {}
        known = self.account.get("base_url")
        if known is not None and known != owner.base_url:
            raise UsageError(
                f"this folder holds what was fetched from {known}, not from {owner.base_url}.",
                where=str(self.folder),
                fix="Name another folder.",
            )
        differences = owner.differences(self.account) if known is not None else []
        if differences and not same_account:
            raise UsageError(
                f"this folder may hold another account or project: {'; '.join(differences)}.",
                where=str(self.folder),
                fix="Name another folder, one for each project; or, where the key was renewed and "
                f"sees the same project, {Step.SAME_ACCOUNT}.",
            )
        if known is None or differences:
            begun_at = self.account.get("begun_at", now())
            self.account = {"version": VERSION, **owner.line(), "begun_at": begun_at}
        self._rewrite()
        tidy(self.folder)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def get(self, kind: str, id: str) -> Entry | None:
        """What is known of it; None: nothing yet."""
        return self._entries.get((kind, id))

    def is_complete(self, kind: str, id: str) -> bool:
        """Whether it is there, with as many bytes as were written."""
        entry = self.get(kind, id)
        if entry is None or entry.status != "complete" or entry.path is None:
            return False
        file = self.folder / entry.path
        return file.is_file() and file.stat().st_size == entry.bytes

    def put(self, entry: Entry) -> None:
        """Add a line; what it speaks of is on disk already."""
        entry = replace(entry, fetched_at=now())
        with self._lock:
            append_durable(self._file, _line(asdict(entry)).encode())
            self._entries[entry.kind, entry.id] = entry

    def list_file(self, kind: str, id: str) -> tuple[Path, int] | None:
        """Where the objects of a list are, whole or not, and how many bytes of the file count."""
        entry = self.get(kind, id)
        if entry is None or entry.path is None or not entry.bytes:
            return None
        whole = self.folder / entry.path
        if entry.status == "complete" or not (part := Path(f"{whole}{PART}")).exists():
            return whole, entry.bytes
        return part, entry.bytes

    def _load(self) -> None:
        known = {one.name for one in fields(Entry)}
        for number, line in enumerate(self._file.read_bytes().split(b"\n")[:-1], start=1):
            try:
                tree = json_reader.read(line)
                if not isinstance(tree, dict):
                    raise TypeError
                if "base_url" in tree:
                    self.account = tree
                    continue
                entry = Entry(**{name: value for name, value in tree.items() if name in known})
                if not (isinstance(entry.kind, str) and isinstance(entry.id, str)):
                    raise TypeError
            except (ValueError, TypeError):
                raise StoreError(
                    "this line is damaged.",
                    where=f"{self._file}:{number}",
                    fix="Delete the line: what it names is fetched again.",
                ) from None
            self._entries[entry.kind, entry.id] = entry

    def _rewrite(self) -> None:
        """Only the lines that count."""
        lines = [self.account] if self.account else []
        lines += map(asdict, self._entries.values())
        write_atomic(self._file, "".join(map(_line, lines)), private=True)


def now() -> str:
    """The time, as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _line(tree: dict[str, Any]) -> str:
    needed = ("kind", "id", "path", "status")
    said = {n: v for n, v in tree.items() if n in needed or (v is not None and v is not False)}
    return json.dumps(said) + "\n"
