"""Weights as transformers has them, as a GGUF file for llama.cpp: 16-bit floats, or coarser.

    write_model(path, config, parts_of(folder), tokenizer, ...)

The names of tensors and of metadata are gguf's own; what is written here is what differs between
the two programs: Llama's rotary pairs lie interleaved there and in halves here, Gemma's norms are
kept there with their one added. What llama.cpp cannot compute exactly as transformers does is
refused, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import (
    GGML_QUANT_VERSION,
    MODEL_ARCH,
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    RopeScalingType,
    quant_shape_to_byte_shape,
    quants,
)
from gguf.tensor_mapping import get_tensor_name_map

from assay.errors import ModelError
from assay.models.gguf_tokenizer import write_tokenizer
from assay.models.trust import weight_files
from assay.store.files import new_file

if TYPE_CHECKING:
    from torch import Tensor

_ARCHITECTURES = {
    "llama": MODEL_ARCH.LLAMA,
    "mistral": MODEL_ARCH.LLAMA,
    "qwen2": MODEL_ARCH.QWEN2,
    "qwen3": MODEL_ARCH.QWEN3,
    "gemma": MODEL_ARCH.GEMMA,
    "gemma2": MODEL_ARCH.GEMMA2,
    "gemma3_text": MODEL_ARCH.GEMMA3,
}
_SLIDING_PERIOD = {"gemma2": 2, "gemma3_text": 6}
"""llama.cpp slides in all layers but every n-th."""
_FILE_TYPES = {
    16: LlamaFileType.MOSTLY_F16,
    8: LlamaFileType.MOSTLY_Q8_0,
    4: LlamaFileType.MOSTLY_Q4_0,
}
_PLAIN = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}
_BLOCK = 32
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor: its name and shape, and how it is read."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


def folder_tensors(folder: Path) -> list[StoredTensor]:
    """The tensors of a model folder, read one at a time.

    Raises:
        ModelError: see `weight_files`.
    """
    from safetensors import safe_open

    def reader(file: Path, name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            with safe_open(file, framework="pt") as tensors:
                found: Tensor = tensors.get_tensor(name)
            return found

        return read

    parts = []
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (not a mapping)
                shape = tuple(tensors.get_slice(name).get_shape())
                parts.append(StoredTensor(name, shape, reader(file, name)))
    return parts


def model_tensors(model: Any) -> list[StoredTensor]:
    """The tensors of a loaded transformers model."""

    def reader(tensor: Tensor) -> Callable[[], Tensor]:
        return lambda: tensor

    state = model.state_dict()
    return [StoredTensor(name, tuple(t.shape), reader(t)) for name, t in state.items()]


def refusal(config: Any) -> str | None:
    """Why llama.cpp cannot hold a model of this configuration; None where it can.

    Args:
        config: transformers' PreTrainedConfig.
    """
    kind = config.model_type
    if kind not in _ARCHITECTURES:
        return f"the GGUF form of the architecture {kind!r} has not been verified"
    gemma = kind.startswith("gemma")
    acts = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
    if acts not in (("gelu_pytorch_tanh", "gelu") if gemma else ("silu",)):
        return f"its activation function is {acts}"
    if getattr(config, "mlp_bias", False):
        return "its inner layers have biases"
    if reason := _sliding_refusal(config):
        return reason
    scalar = getattr(config, "query_pre_attn_scalar", None)
    if kind in _SLIDING_PERIOD and scalar != _head(config):
        return f"its attention is scaled by {scalar}, not by the head size"
    full, sliding = _ropes(config)
    known = ("default", "linear", "llama3") if kind == "llama" else ("default", "linear")
    if full.get("rope_type", "default") not in known:
        return f"its positions are scaled by {full['rope_type']}"
    if sliding is not full and sliding.get("rope_type", "default") != "default":
        return f"positions of its sliding layers are scaled by {sliding['rope_type']}"
    if full.get("partial_rotary_factor", 1.0) != 1.0:
        return "only part of each head is rotated"
    return None


def _sliding_refusal(config: Any) -> str | None:
    period = _SLIDING_PERIOD.get(config.model_type)
    kinds = getattr(config, "layer_types", None) or []
    slides = [kind == "sliding_attention" for kind in kinds]
    if period is None:
        window = getattr(config, "sliding_window", None)
        used = any(slides) if slides else bool(window)
        if used and window and window < config.max_position_embeddings:
            return "its attention slides over the last tokens"
        return None
    if slides != [layer % period < period - 1 for layer in range(config.num_hidden_layers)]:
        return "its sliding layers are not where llama.cpp expects them"
    return None


def architecture(config: Any) -> str:
    """llama.cpp's name for the architecture.

    Raises:
        ModelError: it cannot hold this model; see `refusal`.
    """
    if reason := refusal(config):
        raise ModelError(
            f"llama.cpp cannot represent this model: {reason}.",
            fix="Serve it with the transformers engine, or export it as an adapter or merged.",
        )
    name: str = MODEL_ARCH_NAMES[_ARCHITECTURES[config.model_type]]
    return name


def gguf_names(config: Any) -> Callable[[str], str | None]:
    """Turns transformers' name of a tensor into llama.cpp's; None where it has none."""
    table = get_tensor_name_map(_ARCHITECTURES[config.model_type], config.num_hidden_layers)
    return lambda name: table.get_name(name, try_suffixes=(".weight", ".bias"))


def interleave(name: str, values: Tensor, config: Any) -> Tensor:
    """Rows of a query or key projection in llama.cpp's order (Llama only), [O, ...].

    transformers rotates the first half of a head against the second, llama.cpp neighbours.
    """
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = next((n for part, n in heads.items() if f".{part}." in f"{name}."), None)
    if count is None or _ARCHITECTURES[config.model_type] is not MODEL_ARCH.LLAMA:
        return values
    rest = values.shape[1:]
    halves = values.reshape(count, 2, values.shape[0] // count // 2, *rest)
    return halves.transpose(1, 2).reshape(values.shape)


def write_model(
    path: Path,
    config: Any,
    parts: Sequence[StoredTensor],
    tokenizer: Any,
    *,
    name: str,
    chat_template: str | None,
    stop_ids: Collection[int],
    bits: int = 16,
) -> None:
    """Write a whole model, atomically.

    Args:
        config: transformers' PreTrainedConfig.
        tokenizer: its PreTrainedTokenizerFast.
        name: what the file says it is.
        stop_ids: the tokens that end an answer.
        bits: of a weight: 16, or 8 or 4 in blocks of 32 with a scale each (Q8_0, Q4_0). Vectors
            keep 32, and a matrix whose rows are no multiple of 32 keeps 16. At 4 bits embeddings
            and head keep 8: they cost the most when they are coarse.

    Raises:
        ModelError: llama.cpp cannot hold this model or tokenizer.
    """
    arch = architecture(config)
    with _writer(path, arch) as writer:
        writer.add_type("model")
        writer.add_name(name)
        writer.add_file_type(_FILE_TYPES[bits])
        if bits < 16:
            writer.add_quantization_version(GGML_QUANT_VERSION)
        _write_shape(writer, config)
        write_tokenizer(
            writer,
            tokenizer,
            config.vocab_size,
            chat_template=chat_template,
            stop_ids=stop_ids,
        )
        tensors = list(_tensors(config, parts))
        if (factors := _rope_factors(config)) is not None:
            tensors.append(("rope_freqs.weight", factors.shape, lambda: factors))
        for target, shape, _ in tensors:
            kind = _number_type(target, shape, bits)
            if kind in _PLAIN:
                dtype, stored = np.dtype(_PLAIN[kind]), shape
            else:
                dtype, stored = np.dtype(np.uint8), quant_shape_to_byte_shape(shape, kind)
            size = int(np.prod(stored)) * dtype.itemsize
            writer.add_tensor_info(target, stored, dtype, size, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for target, shape, read in tensors:
            writer.write_tensor_data(_numbers(target, read(), _number_type(target, shape, bits)))


@contextmanager
def _writer(path: Path, arch: str) -> Iterator[GGUFWriter]:
    with new_file(path) as draft:
        writer = GGUFWriter(draft, arch)
        yield writer
        writer.close()


def _tensors(
    config: Any, parts: Sequence[StoredTensor]
) -> Iterator[tuple[str, tuple[int, ...], Callable[[], Tensor]]]:
    names = gguf_names(config)
    tied = config.tie_word_embeddings
    gemma = config.model_type.startswith("gemma")

    def reader(part: StoredTensor) -> Callable[[], Tensor]:
        def read() -> Tensor:
            values = interleave(part.name, part.read().float().cpu(), config)
            return values + 1 if gemma and part.name.endswith("norm.weight") else values

        return read

    for part in parts:
        if part.name.endswith("rotary_emb.inv_freq") or (tied and part.name == "lm_head.weight"):
            continue
        target = names(part.name)
        if target is None:
            raise ModelError(
                f"llama.cpp has no place for the tensor {part.name!r}.",
                fix="Serve it with the transformers engine.",
            )
        yield target, part.shape, reader(part)


def _number_type(name: str, shape: tuple[int, ...], bits: int) -> GGMLQuantizationType:
    """How a tensor's numbers are held in a file of weights of `bits`."""
    if len(shape) == 1:
        return GGMLQuantizationType.F32
    if bits == 16 or shape[-1] % _BLOCK:
        return GGMLQuantizationType.F16
    # Not Q4_1, whose least square error is smaller. Models published in it, the starter among them,
    # have their weights on its very levels, and what a training adds to them is less than half a
    # step: rounding takes it away. On the levels of Q4_0 nine tenths of it remain.
    coarse = bits == 4 and name not in ("token_embd.weight", "output.weight")
    return GGMLQuantizationType.Q4_0 if coarse else GGMLQuantizationType.Q8_0


def _numbers(name: str, values: Any, kind: GGMLQuantizationType) -> np.ndarray[Any, Any]:
    array = np.asarray(values, dtype=np.float32)
    if kind is GGMLQuantizationType.F32:
        return array
    if not np.abs(array).max(initial=0.0) <= _LARGEST:  # NaN is refused, too
        raise ModelError(
            f"the tensor {name!r} has values outside the range of 16-bit floats.",
            fix="Serve it with the transformers engine.",
        )
    return array.astype(np.float16) if kind in _PLAIN else quants.quantize(array, kind)


def _write_shape(writer: GGUFWriter, config: Any) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(_head(config))
    writer.add_value_length(_head(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(_head(config))
    full, sliding = _ropes(config)
    writer.add_rope_freq_base(float(full["rope_theta"]))
    if full.get("rope_type") == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(full["factor"]))
    if config.model_type in _SLIDING_PERIOD:
        writer.add_sliding_window(config.sliding_window)
        writer.add_rope_freq_base_swa(float(sliding["rope_theta"]))
    if (cap := getattr(config, "attn_logit_softcapping", None)) is not None:
        writer.add_attn_logit_softcapping(cap)
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        writer.add_final_logit_softcapping(cap)


def _head(config: Any) -> int:
    stated = getattr(config, "head_dim", None)
    return int(stated or config.hidden_size // config.num_attention_heads)


def _ropes(config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rotary settings of full and of sliding layers."""
    rope: dict[str, Any] = dict(config.rope_parameters)
    full: dict[str, Any] = rope.get("full_attention") or rope
    return full, rope.get("sliding_attention") or full


def _rope_factors(config: Any) -> Any:
    """What Llama 3 divides each rotary frequency by, [head / 2]; None for others."""
    rope, _ = _ropes(config)
    if rope.get("rope_type") != "llama3":
        return None
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    head = _head(config)
    plain = 1.0 / rope["rope_theta"] ** (np.arange(0, head, 2, dtype=np.float64) / head)
    return (plain / scaled.double().numpy()).astype(np.float32)
