"""Hashes of weights, remembered, since reading gigabytes on every start costs more than loading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from assay import json_reader
from assay.store.files import sha256_file, write_json


def tensors_sha256(digests: Sequence[str]) -> str:
    """One hash for the weights of a model, from the hashes of its files in order of their names."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


_READ = (".safetensors", ".json", ".txt", ".model")
"""What is read of a model's folder: weights, settings, tokenizers."""


def folder_sha256(folder: Path, cache: Path, without: str) -> str:
    """One hash (hex) for all that a model's answers depend on: weights, tokenizer and settings.

    Args:
        cache: where hashes of files are remembered.
        without: the name of a file that says nothing of the model.
    """
    files = sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.suffix in _READ and file.name != without and file.is_file()
    )
    content = [[name, remembered_sha256(folder / name, cache)] for name in files]
    return hashlib.sha256(json.dumps(content).encode(errors="surrogatepass")).hexdigest()


def remembered_sha256(path: Path, cache: Path) -> str:
    """Sha256 (hex) of a file; computed again only when its path, time or size has changed."""
    stat = path.stat()
    place = str(path.resolve())
    key = [place, stat.st_mtime_ns, stat.st_size]
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
