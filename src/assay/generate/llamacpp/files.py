"""The GGUF files that llama.cpp answers from, made once from what a model or version is.

A base is kept in the user's cache under the hash of its weights, what belongs to a version in its
project's state. Each is written by one process while others wait, and appears whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from assay.chat.template import Template
from assay.generate.base import BaseDescription, load_merged
from assay.models.gguf_adapter import write_adapter
from assay.models.gguf_export import folder_tensors, model_tensors, write_model
from assay.models.pull import cache_folder
from assay.models.versions import LocalVersion

FORM = 2
"""Raised when what is written changes, so that older files are not used."""


def base_file(base: BaseDescription) -> Path:
    """The base's GGUF file, in 16-bit floats.

    Raises:
        ModelError: llama.cpp cannot hold it.
    """
    # The file says how answers end and how turns are written, so that is part of its name.
    made_of = f"{base.weights_sha256}-{base.template.sha256}-{FORM}"
    name = hashlib.sha256(made_of.encode()).hexdigest()[:32]

    def write(path: Path) -> None:
        write_model(
            path,
            base.config,
            folder_tensors(base.folder),
            base.tokenizer,
            name=Path(base.ref).name,
            chat_template=base.template.text,
            stop_ids=base.template.stop_ids,
        )

    return _once(cache_folder() / "llamacpp" / f"{name}.f16.gguf", write)


def adapter_file(version: LocalVersion, base: BaseDescription, state: Path) -> Path:
    """The version's adapter as a GGUF file.

    Raises:
        ModelError: it has no such form; see `models.gguf_adapter.adapter_refusal`.
    """
    return _once(
        _folder(state) / f"{version.id}-{FORM}.lora.gguf",
        lambda path: write_adapter(path, version.folder, base.config),
    )


def merged_file(version: LocalVersion, template: Template, state: Path, bits: int = 16) -> Path:
    """The version as a whole GGUF file; `bits` as of `write_model`.

    Raises:
        ModelError: llama.cpp cannot hold it, or its adapter cannot be merged.
    """

    def write(path: Path) -> None:
        write_merged(path, version, template, bits)

    kind = "f16" if bits == 16 else f"q{bits}"
    return _once(_folder(state) / f"{version.id}-{FORM}.{kind}.gguf", write)


def write_merged(path: Path, version: LocalVersion, template: Template, bits: int = 16) -> None:
    """Write the version as a whole GGUF file; see `merged_file`."""
    loaded = load_merged(version, template, "float32")
    write_model(
        path,
        loaded.model.config,
        model_tensors(loaded.model),
        loaded.tokenizer,
        name=f"{Path(version.record.base).name}-{version.id[:12]}",
        chat_template=template.text,
        stop_ids=template.stop_ids,
        bits=bits,
    )


def _folder(state: Path) -> Path:
    return state / "cache" / "gguf"


def _once(path: Path, write: Callable[[Path], None]) -> Path:
    from filelock import FileLock

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / f".{path.name}.lock"):
            if not path.exists():
                for left in path.parent.glob(f".{path.name}.*.part"):  # by a killed process
                    left.unlink()
                write(path)
    return path
