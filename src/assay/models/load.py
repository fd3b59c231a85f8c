"""Loads a model and its tokenizer for generation or training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay import wait_policy
from assay.errors import ModelError, UsageError, first_line
from assay.models.device import best_device, native_bfloat16
from assay.models.pull import (
    RECORD,
    cache_folder,
    find_folder,
    pull,
    read_record,
    remembered_sha256,
    tensors_sha256,
)
from assay.models.quantization import Quantization, keep_packing, load_bitsandbytes, nf4_options
from assay.models.quiet import exclusive_loading
from assay.models.trust import check_folder, read_json, weight_files
from assay.progress import SILENT, Progress
from assay.quantities import say_count

_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to use.

    Attributes:
        model: a transformers PreTrainedModel (a PeftModel with an adapter), in eval mode.
        tokenizer: its PreTrainedTokenizerFast.
        ref: what it was asked for by.
        weights_sha256: of the base weights; equal hashes mean equal weights.
        context_length: tokens that prompt and answer may have together.
        dtype: float32, bfloat16 or float16.
        quantization: "nf4" where the linear maps are in 4 bits (`assay.models.quantization`).
    """

    model: Any
    tokenizer: Any
    ref: str
    weights_sha256: str
    context_length: int
    dtype: str
    quantization: Quantization = "none"


def load(
    ref: str,
    *,
    dtype: str = "float32",
    adapter: Path | None = None,
    weights: Path | None = None,
    quantization: Quantization = "none",
    device: str = "cpu",
    progress: Progress = SILENT,
) -> LoadedModel:
    """Load the model `ref` (see `pull`).

    Args:
        adapter: a PEFT folder, put beside its weights.
        weights: a folder (config.json, model.safetensors) whose weights replace its own, as full
            fine-tuning leaves it; the tokenizer stays the one of `ref`.
        quantization: "nf4": the linear maps in 4 bits, quantised one by one as they are read.
        device: where it is loaded to.

    Raises:
        ConfigError: it shall be quantised, and bitsandbytes is not installed.
        ModelError: it cannot be found, pulled, trusted or loaded.
        UsageError: an unknown dtype.
    """
    load_bitsandbytes()
    import torch
    from transformers import AutoModelForCausalLM

    if dtype not in _DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}.", fix=f"Use one of: {', '.join(_DTYPES)}.")
    wait_policy.adapt()
    folder = pull(ref, progress)
    digest = weights_sha256(folder)
    source = weights or folder
    if weights is not None:
        check_folder(weights)
    tokenizer, limit = _tokenizer(folder)
    number_format = getattr(torch, dtype)
    options = nf4_options(number_format, device) if quantization == "nf4" else {}
    try:
        with exclusive_loading():
            model, loading = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=number_format,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise ModelError(
            f"the model cannot be loaded ({first_line(error)}).",
            where=str(source),
            fix="Pull it again, or use another model.",
        ) from None
    _check_fit(source, loading)
    if options:
        keep_packing(model)
    else:
        model.to(device)
    if adapter is not None:
        model = _with_adapter(model, adapter)
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        ref=ref,
        weights_sha256=digest,
        context_length=limit,
        dtype=dtype,
        quantization=quantization,
    )


def load_to_train(
    ref: str, quantization: Quantization = "none", progress: Progress = SILENT
) -> LoadedModel:
    """`load`, on the device that trains: in float32, on a GPU in bfloat16 if it was published so.

    Half the memory, for the same result: `assay.train.fused` keeps what is not multiplied float32.
    """
    device = best_device()
    own = published_format(pull(ref, progress))
    narrow = device != "cpu" and own == "bfloat16" and native_bfloat16(device)
    dtype = "bfloat16" if narrow else "float32"
    return load(ref, dtype=dtype, quantization=quantization, device=device, progress=progress)


def published_format(folder: Path) -> str:
    """Of a model's weights, by its config.json; "float32" where that does not say it."""
    config = read_json(folder / "config.json")
    text = config.get("text_config")  # of a multimodal model
    both = {**(text if isinstance(text, dict) else {}), **config}
    return both.get("dtype") or both.get("torch_dtype") or "float32"  # the second: the older name


def _check_fit(folder: Path, loading: dict[str, Any]) -> None:
    """Refuse what transformers would fill with random numbers, or leave out, without a word.

    Weights that are left over are common and harmless (of a picture tower, of training), unless the
    architecture was written for this model first and transformers' is only called the same.
    """
    lacking = set(loading["missing_keys"])
    if read_json(folder / "config.json").get("auto_map"):
        lacking |= set(loading["unexpected_keys"])
    if lacking:
        raise ModelError(
            f"the weights are not those of its architecture as transformers knows it: "
            f"{say_count(len(lacking), 'tensor differs', 'tensors differ')}, such as "
            f"{min(lacking)}.",
            where=str(folder),
            fix="Pull it again, or use another model.",
        )


def load_tokenizer(ref: str, progress: Progress = SILENT) -> tuple[Any, int]:
    """The tokenizer of `ref` and its context length in tokens, without loading the weights.

    Raises:
        ModelError: as `load`.
    """
    return _tokenizer(pull(ref, progress))


def _tokenizer(folder: Path) -> tuple[Any, int]:
    from transformers import AutoTokenizer

    try:
        with exclusive_loading():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
    except (ValueError, KeyError, OSError) as error:
        raise ModelError(
            f"the tokenizer cannot be loaded ({first_line(error)}).",
            where=str(folder),
            fix="The folder needs tokenizer.json and tokenizer_config.json.",
        ) from None
    if not tokenizer.is_fast:
        raise ModelError(
            "this model has no tokenizer.json; Assay needs a fast tokenizer.",
            where=str(folder),
            fix="Use a version of the model that has one.",
        )
    return tokenizer, context_length(read_json(folder / "config.json"))


def find_context_length(ref: str) -> int | None:
    """`context_length` of a model that is on this machine; None: it is not, or cannot be read.

    Nothing is fetched or unpacked.
    """
    try:
        folder = find_folder(ref)
        return None if folder is None else context_length(read_json(folder / "config.json"))
    except (ModelError, OSError):
        return None


def context_length(config: dict[str, Any]) -> int:
    """Tokens the model can attend to, from its config.json (nested for multimodal models).

    What the file leaves out is what transformers takes for granted, as it is for Gemma 3 4B.
    """
    text = config.get("text_config")
    inner: dict[str, Any] = text if isinstance(text, dict) else config
    return _positions({**config, **inner}) or _positions(text_defaults(config)) or 2048


def _positions(fields: dict[str, Any]) -> int | None:
    for key in ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx"):
        value = fields.get(key)
        if isinstance(value, int) and value > 0:
            return value
    return None


def text_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of the text part with all that transformers adds."""
    from transformers import AutoConfig

    try:
        fields: dict[str, Any] = AutoConfig.for_model(**config).get_text_config().to_dict()
    except (ValueError, KeyError, TypeError):  # no architecture that it knows
        return {}
    return fields


def weights_sha256(folder: Path) -> str:
    """Sha256 (hex) by which a model's weights are known: of its GGUF file, else its safetensors.

    Raises:
        ModelError: the files of a model that was pulled are not the ones that were pulled.
    """
    cache = cache_folder()
    found = tensors_sha256([remembered_sha256(file, cache) for file in weight_files(folder)])
    if not (folder / RECORD).is_file():
        return found
    record = read_record(folder)
    if found != record["tensors"]:
        raise ModelError(
            "the weights have changed since they were pulled.",
            where=str(folder),
            fix="Remove this folder and pull the model again.",
        )
    return str(record["sha256"] or found)


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    read_json(adapter / "adapter_config.json")
    weight_files(adapter)
    try:
        with exclusive_loading():
            return PeftModel.from_pretrained(model, str(adapter), use_safetensors=True)
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise ModelError(
            f"the adapter does not fit this model ({first_line(error)}).",
            where=str(adapter),
            fix="Use it with the base model it was trained on.",
        ) from None


def key_width(config: Any) -> int:
    """Numbers that the keys of one token take in one layer, and so many again its values.

    Where layers differ (Gemma 4), of the widest.

    Args:
        config: transformers' PreTrainedConfig.
    """
    text = config.get_text_config()
    layers = text.per_layer_config if getattr(text, "is_heterogeneous", False) else [text]
    return max(_key_width(layer) for layer in layers)


def _key_width(layer: Any) -> int:
    heads = getattr(layer, "num_key_value_heads", None) or layer.num_attention_heads
    size = getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads
    return int(heads * size)
