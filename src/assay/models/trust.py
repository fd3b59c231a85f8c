"""What may be loaded: plain tensors of an architecture that transformers itself implements.

A model folder is somebody else's file. Pickles and custom code run on loading, so they are
refused before anything is opened; a file cut short is found by its header, without reading it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.errors import ModelError

MOST_HEADER_BYTES = 32_000_000
"""Of a safetensors file: a hundred thousand tensors take a third of it."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model's folder.

    Raises:
        ModelError: the file is missing, cut short, or no JSON object.
    """
    try:
        value = json_reader.read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"there is no {path.name} here, so this is not a model folder.",
            where=str(path.parent),
            fix="Point to the folder that holds config.json and *.safetensors.",
        ) from None
    except ValueError as error:
        raise ModelError(
            f"this file is damaged or incomplete ({error}).",
            where=str(path),
            fix="Pull the model again.",
        ) from None
    if not isinstance(value, dict):
        raise ModelError("this is not a JSON object.", where=str(path))
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, each checked to be whole.

    Raises:
        ModelError: only pickles, none at all, a shard missing, or a file cut short.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        files = [folder / Path(name).name for name in names]
        missing = [file.name for file in files if not file.exists()]
        if missing:
            raise ModelError(
                f"the download is incomplete: {', '.join(missing)} missing.",
                where=str(folder),
                fix="Pull the model again.",
            )
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        if pickles:
            raise ModelError(
                f"the weights are pickles ({pickles[0]}), which can run code when opened; "
                "Assay loads safetensors only.",
                where=str(folder),
                fix="Use a version of the model with *.safetensors files.",
            )
        raise ModelError(
            "there are no weights (*.safetensors) here.",
            where=str(folder),
            fix="Point to a complete model folder, or to a .gguf file.",
        )
    for file in files:
        header(file)
    return files


def header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file (tensor name -> dtype, shape, data_offsets).

    Format: 8 bytes little-endian length, that many bytes of JSON, then the tensors
    (https://github.com/huggingface/safetensors#format).

    Raises:
        ModelError: the file is cut short or is no safetensors file.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise ValueError("shorter than its header")
            if length > MOST_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            table: dict[str, Any] = json_reader.read(file.read(length))
        table.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in table.values()), default=0)
        if size != 8 + length + end:
            raise ValueError(f"{size} bytes, {8 + length + end} expected")
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(
            f"this weights file is incomplete or damaged ({error}).",
            where=str(path),
            fix="Pull the model again.",
        ) from None
    return table


def check_folder(folder: Path, *, causal: bool = True) -> dict[str, Any]:
    """Refuse a model folder that must not or cannot be loaded; returns its config.

    Args:
        causal: also require an architecture that continues text.

    Raises:
        ModelError: no model, custom code, pickles, damaged weights, unknown architecture.
    """
    config = read_json(folder / "config.json")
    tokenizer = folder / "tokenizer_config.json"
    for name, content in (
        ("config.json", config),
        (tokenizer.name, read_json(tokenizer) if tokenizer.exists() else {}),
    ):
        if content.get("auto_map") and not (content is config and _is_built_in(config)):
            raise ModelError(
                "this model needs its own code (auto_map), which Assay never runs.",
                where=str(folder / name),
                fix="Use a model whose architecture is part of transformers.",
            )
    weight_files(folder)
    if causal:
        _check_architecture(folder, config)
    return config


def _is_built_in(config: dict[str, Any]) -> bool:
    """Whether the code that auto_map names is long part of transformers, which then runs its own.

    Phi-3 and Phi-4-mini, say, still name the files that they were published with: the same classes
    for the same architecture. Another class, or one for another purpose, is code of the model's.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind, named = config.get("model_type"), config["auto_map"]
    if not isinstance(named, dict) or not isinstance(kind, str):
        return False
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return False
    known = {
        "AutoConfig": CONFIG_MAPPING_NAMES[kind],
        "AutoModelForCausalLM": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind],
    }
    classes = {name: str(place).rpartition(".") for name, place in named.items()}
    # A tokenizer is read from its own files; where no class is named, it is that of another model.
    return all(
        found == known.get(name) or (name == "AutoTokenizer" and not dot)
        for name, (_, dot, found) in classes.items()
    )


def _check_architecture(folder: Path, config: dict[str, Any]) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        from transformers import __version__

        raise ModelError(
            f"the architecture {kind!r} is not a causal language model that transformers "
            f"{__version__} knows.",
            where=str(folder / "config.json"),
            fix="Use a text-generating model, or a newer transformers if this one is very new. An "
            "encoder is named in `classifier.embedder` or in the settings of `knowledge`.",
        )
