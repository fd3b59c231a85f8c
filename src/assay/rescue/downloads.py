"""Files of an account, streamed to disk and compared with what their record says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.errors import Step, StoreError
from assay.generate.remote.connection import Reply
from assay.rescue.client import AccountClient, RefusedError, parts_of
from assay.rescue.folder import suffix_of
from assay.rescue.manifest import Entry, Manifest
from assay.store.files import new_file, sha256_file

FILE = "file"
IN_BASE64, OF_ANOTHER_SIZE = "in base64", "of another size"
MOST_BYTES = 32 * 2**30
"""Of a file whose record tells no size."""
MOST_DECODED = 64 * 2**20
_SPARE = 2**20
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file to fetch.

    Attributes:
        record: what the account says of it.
    """

    id: str
    record: dict[str, Any]

    @property
    def bytes(self) -> int | None:
        """As its record says; None where it does not."""
        size = self.record.get("bytes")
        return size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None

    @property
    def path(self) -> str:
        """Of its contents, from the folder."""
        return f"files/{self.id}{suffix_of(self.record.get('filename'))}"


def fetch_file(
    client: AccountClient, manifest: Manifest, wanted: WantedFile, on_bytes: Callable[[int], None]
) -> None:
    """Bring a file's contents to the folder.

    It is whole where it has as many bytes as its record says, as it is or (results of fine-tuning)
    once its base64 is decoded. What came twice the same and is of another size is kept, and told.

    Args:
        on_bytes: called with what has come since the last call; with a negative number where it is
            begun anew.

    Raises:
        RefusedError: it cannot be had, or not as its record says.
        StoreError: the disk has no room for it.
        Exception: as `AccountClient.json`.
    """
    size, target = wanted.bytes, manifest.folder / wanted.path
    free = shutil.disk_usage(manifest.folder).free
    if size is not None and size > free:
        raise StoreError(
            f"{wanted.path} needs {size / 2**20:.0f} MiB, and {free / 2**20:.0f} MiB are free.",
            where=str(manifest.folder),
            fix=f"Free some space; {Step.FETCH_AGAIN}.",
        )
    most, before = MOST_BYTES if size is None else 2 * size + _SPARE, ""
    for _ in range(_ATTEMPTS):
        try:
            with new_file(target, private=True) as draft:
                got, digest = _download(client, wanted.id, draft, most, on_bytes)
                note = None
                if size is not None and got != size:
                    note = IN_BASE64 if _decoded_size(draft, got) == size else OF_ANOTHER_SIZE
                kept = target.stat().st_size if target.exists() else 0
                if note == OF_ANOTHER_SIZE and (digest != before or kept > got):
                    raise _DiscardError
        except _DiscardError:
            if digest != before:
                before = digest
                on_bytes(-got)
                continue
            entry = Entry(FILE, wanted.id, wanted.path, "failed", kept, sha256_file(target))
            reason = f"{got} bytes came, where its record says {size}; {kept} of before are kept."
            manifest.put(replace(entry, reason=reason, note=OF_ANOTHER_SIZE))
            raise RefusedError(reason, 200) from None
        entry = Entry(FILE, wanted.id, wanted.path, "complete", got, digest, note=note)
        if note != OF_ANOTHER_SIZE:
            manifest.put(entry)
            return
        reason = f"{got} bytes came, twice the same, where its record says {size}; they are kept."
        manifest.put(replace(entry, status="failed", reason=reason))
        raise RefusedError(reason, 200)
    raise RefusedError(f"another size each time, and never the {size} bytes of its record.", 200)


class _DiscardError(Exception):
    """What came does not take the place of what is here."""


def _download(
    client: AccountClient, id: str, draft: Path, most: int, on_bytes: Callable[[int], None]
) -> tuple[int, str]:
    """Size and sha256 of what came."""
    come = 0

    def read(reply: Reply) -> str:
        nonlocal come
        on_bytes(-come)
        come, digest = 0, hashlib.sha256()
        reply.most_bytes = most
        with draft.open("wb") as file:
            for part in parts_of(reply):
                file.write(part)
                digest.update(part)
                come += len(part)
                on_bytes(len(part))
        return digest.hexdigest()

    digest = client.stream(f"/files/{id}/content", read)
    return come, digest


def _decoded_size(file: Path, size: int) -> int | None:
    """Bytes of what a file holds in base64; None where that is not what it holds."""
    if size > MOST_DECODED:
        return None
    try:
        return len(base64.b64decode(file.read_bytes().strip(), validate=True))
    except (binascii.Error, ValueError):
        return None
