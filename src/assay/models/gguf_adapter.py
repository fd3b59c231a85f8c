"""An adapter (PEFT's folder) as a GGUF file that llama.cpp puts beside a base.

llama.cpp knows one form: B·A beside a linear map, times alpha / rank. LoRA is that, rsLoRA too with
another alpha; DoRA and adapters with parts of other kinds are not, and are merged instead.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter

from assay.errors import ModelError
from assay.models.gguf_export import architecture, gguf_names, interleave
from assay.models.trust import read_json, weight_files
from assay.models.versions import ADAPTER, ADAPTER_CONFIG
from assay.store.files import new_file

_PREFIX = "base_model.model."


def adapter_refusal(folder: Path) -> str | None:
    """Why an adapter has no GGUF form; None where it has one."""
    config = read_json(folder / ADAPTER_CONFIG)
    if config.get("peft_type", "LORA") != "LORA":
        return f"it is of type {config['peft_type']}"
    for key, meaning in (
        ("use_dora", "it is a DoRA adapter, whose row norms GGUF cannot store"),
        ("rank_pattern", "its layers have different ranks"),
        ("alpha_pattern", "its layers have different scales"),
        ("modules_to_save", "it contains whole layers"),
        ("trainable_token_indices", "it contains token embeddings"),
        ("layer_replication", "it repeats layers"),
        ("lora_bias", "it contains biases"),
    ):
        if config.get(key):
            return meaning
    if config.get("bias", "none") != "none":
        return "it contains biases"
    return None


def write_adapter(path: Path, folder: Path, config: Any) -> None:
    """Write the adapter in `folder` as a GGUF file, atomically.

    Args:
        config: of its base, transformers' PreTrainedConfig.

    Raises:
        ModelError: it has no such form (see `adapter_refusal`), or does not fit the base.
    """
    from safetensors.torch import load_file

    if reason := adapter_refusal(folder):
        raise ModelError(
            f"this adapter cannot be written as GGUF: {reason}.", where=str(folder), fix="Merge it."
        )
    settings = read_json(folder / ADAPTER_CONFIG)
    rank, alpha = int(settings["r"]), float(settings["lora_alpha"])
    if settings.get("use_rslora"):
        alpha *= math.sqrt(rank)
    names, arch = gguf_names(config), architecture(config)
    weight_files(folder)
    with new_file(path) as draft:
        writer = GGUFWriter(draft, arch)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        for name, values in load_file(folder / ADAPTER).items():
            module, _, half = name.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
            target = names(f"{module}.weight")
            if target is None or half not in ("lora_A", "lora_B"):
                raise ModelError(
                    f"llama.cpp has no place for {name!r} of this adapter.", where=str(folder)
                )
            if half == "lora_B":
                values = interleave(module, values, config)
            array = np.ascontiguousarray(values.float().numpy(), dtype=np.float32)
            writer.add_tensor(f"{target}.{half.lower()}", array)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
