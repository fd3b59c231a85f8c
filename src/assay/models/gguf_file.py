"""Turns a GGUF file into a safetensors folder, once, so that every later load is fast.

Unpacking blocks and rebuilding the tokenizer takes transformers some twenty seconds for a small
model; the folder that comes out loads in a fraction of a second and holds the same numbers.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from assay.errors import ModelError, first_line
from assay.models import gguf_header
from assay.models.quiet import exclusive_loading

# Vocabularies learned with every digit on its own (llama.cpp: LLAMA_VOCAB_PRE_TYPE_SMOLLM and the
# others that share its rule). transformers 5.24 leaves these to plain GPT-2 splitting, under which
# "  12" becomes other tokens than the model was trained on.
_DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell"})


def dequantise(path: Path, folder: Path) -> None:
    """Write weights (float32), config and tokenizer of the GGUF file `path` into `folder`.

    Raises:
        ModelError: no GGUF file, cut short, or an architecture or tokenizer that transformers
            cannot rebuild.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    split = _text(path, "tokenizer.ggml.pre")
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        # One of transformers' bars ignores its own switch, hence the redirection.
        with exclusive_loading(), contextlib.redirect_stderr(io.StringIO()):
            tokenizer: Any = AutoTokenizer.from_pretrained(**source)
            model: Any = AutoModelForCausalLM.from_pretrained(
                **source, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
            )
    except (ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"transformers cannot read this GGUF file ({first_line(error)}).",
            where=str(path),
            fix="Use the model's safetensors instead, or a GGUF of a common architecture.",
        ) from None
    if split in _DIGITS_APART:
        from tokenizers import pre_tokenizers

        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    tokenizer.model_max_length = model.config.max_position_embeddings
    with exclusive_loading():
        model.save_pretrained(folder, max_shard_size="1TB")
        tokenizer.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):  # written for the owner only
        file.chmod((folder / "config.json").stat().st_mode)


def fields(path: Path) -> Any:
    """The parsed GGUF file (gguf.GGUFReader: `.fields`, `.tensors`), checked to be whole.

    Raises:
        ModelError: no GGUF file, or cut short.
    """
    from gguf import GGUFReader

    gguf_header.check(path)
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise ModelError(
            f"this is not a GGUF file, or it is incomplete ({first_line(error)}).",
            where=str(path),
            fix="Pull or copy the file again.",
        ) from None


def licence(path: Path) -> str | None:
    """The licence a GGUF file states, or None."""
    return _text(path, "general.license")


def _text(path: Path, key: str) -> str | None:
    field = fields(path).fields.get(key)
    return None if field is None else str(field.contents())
