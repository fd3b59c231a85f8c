"""What a training will take, in bytes, before it starts.

They are counted from the model's linear maps and the largest pass; the factors were fitted to
measured peaks (docs/training.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from assay.config import CONFIG_FILE, FineTune
from assay.errors import ConfigError, ModelError
from assay.models.device import available_bytes
from assay.models.load import key_width
from assay.models.quantization import is_quantized, shape_of
from assay.prefix.layout import layout_of
from assay.prefix.pack import packed_tokens
from assay.train import checkpoints
from assay.train.device import readable
from assay.train.loss import chunk_on
from assay.train.optimizer import COPIES
from assay.train.sequences import Unit, epoch_order
from assay.train.step import causal_lm, device_of, in_passes
from assay.train.targets import embedding_layers, linear_maps, target_maps

_HIDDEN = 5.5  # float32 copies of the hidden state that a layer keeps: norms, residuals, rotations
_LEAN_HIDDEN, _LEAN = 3.0, 0.55  # the same, and the share of the maps' tensors, in `fused.fast`
_DORA = 2  # values more per output of a linear map with DoRA
_AGAIN = 3  # copies of one layer's activations and of all layers' inputs, computed twice
_PROCESS = 320 * 2**20  # buffers, libraries, what the allocator holds back
_MARGIN = 1.05  # above the fit: it is to refuse before it fails
_STEPS_LOOKED_AT = 64


def training_bytes(
    model: nn.Module, units: Sequence[Unit], settings: FineTune, compute: str = "float32"
) -> int:
    """Bytes beside the base weights: what is trained, optimiser, activations, logits, casts.

    `activation_checkpointing: auto` counts as off.
    """
    base = causal_lm(model)
    linear, chosen = _shapes(linear_maps(base).values()), _shapes(target_maps(base, settings))
    embeddings: torch.Tensor = base.get_input_embeddings().weight  # type: ignore[operator]
    vocabulary, width = embeddings.shape
    layers: int = base.config.get_text_config().num_hidden_layers  # type: ignore[union-attr,operator]
    pairs = sum(i + o for i, o in linear)
    value = 2 if compute == "bfloat16" else 4
    lean = _keeps_less(base, settings)
    of_maps, hidden = (_LEAN * value * pairs, _LEAN_HIDDEN) if lean else (value * pairs, _HIDDEN)
    each = of_maps + 4 * hidden * layers * width  # bytes a token
    again = _AGAIN
    temporary = 4 * 3 * chunk_on(embeddings.device) * vocabulary
    if settings.adapter == "full":
        trained = sum(p.numel() for n, p in base.named_parameters() if ".lora_" not in n)
        temporary += 4 * vocabulary * width
    else:
        trained = settings.rank * sum(i + o for i, o in chosen)
        each += value * settings.rank * len(chosen)
    if settings.adapter == "dora":
        outputs = sum(o for _, o in chosen)
        trained += outputs
        each += value * _DORA * outputs
        temporary += 4 * max(3 * i * o + i * i for i, o in chosen)
        again *= 2
    if settings.embeddings == "train":
        trained += embedding_numbers(base)
        temporary += 4 * vocabulary * width  # of one more part of the gradient
    if settings.activation_checkpointing == "on":
        each = again * (each / layers + 4 * layers * width)
    if compute == "bfloat16":
        casts = 2 if settings.adapter == "full" else _cast_bytes(base, once=lean)
        temporary += casts * sum(i * o for i, o in linear)
        if settings.adapter != "full":
            temporary += _head_bytes(base) * vocabulary * width
    if settings.quantization != "none":  # a map is dense while it is multiplied by
        temporary += value * max(i * o for i, o in linear)
    tokens, trunk = largest_pass(base, units, settings)
    # Keys and values of a trunk stay to its end, with what gathers there in float32.
    activations = each * tokens + trunk * layers * 2 * key_width(base.config) * (2 * value + 4)
    held = 4 * trained * COPIES[settings.optimizer]
    if settings.method == "reinforcement" and embeddings.device.type == "cpu":
        held += 4 * trained  # what it started from is kept on the CPU
    # One more in a checkpoint's making, or while what it started from computes a reference.
    during = held + max(activations, 4 * trained) + temporary
    return math.ceil(_MARGIN * (max(during, held) + _PROCESS))  # in the end all is there again


def embedding_numbers(base: nn.Module) -> int:
    """Weights of input embeddings and head, counted once where they are tied."""
    weights = {layer.weight for layer in embedding_layers(base).values()}
    return sum(weight.numel() for weight in weights)


def describe_embeddings(model: nn.Module, settings: FineTune) -> str:
    """What training embeddings and head takes, beside what an adapter takes, in one sentence."""
    base = causal_lm(model)
    numbers = embedding_numbers(base)
    written = sum(layer.weight.numel() for layer in embedding_layers(base).values())  # as PEFT does
    values = COPIES[settings.optimizer] * 4 * numbers
    checkpoint = (COPIES[settings.optimizer] - 1) * 4 * numbers
    start = ""
    if settings.method == "reinforcement":
        start = f", up to {readable(8 * numbers)} more for copies that reinforcement keeps"
    return (
        f"Embeddings and head are trained beside the adapter, {numbers / 1e6:.1f} million weights: "
        f"{readable(values)} of memory with gradient and {settings.optimizer}'s state"
        f"{start}, {readable(4 * written)} on disk for each version that is written, up to "
        f"{checkpoints.MOST_KEPT} times {readable(checkpoint)} in checkpoints until it is done."
    )


def _keeps_less(base: nn.Module, settings: FineTune) -> bool:
    """Whether its layers are such as `assay.train.fused` computes with less."""
    plain = settings.adapter in ("lora", "rslora") and not settings.dropout
    parts = {"gate_proj", "up_proj", "down_proj"}
    if settings.target_modules != "all-linear":
        # A longer name is that of one layer alone: the others keep more.
        plain = plain and parts <= {name.removeprefix("mlp.") for name in settings.target_modules}
    return plain and any(hasattr(module, "gate_proj") for module in base.modules())


def _cast_bytes(base: nn.Module, *, once: bool) -> int:
    """Bytes more for each weight of the maps when they are multiplied in bfloat16.

    2 for a copy; none where they are bfloat16 or in 4 bits already. With `once`, a copy takes the
    place of float32 that it equals to the last bit (`assay.train.fused`), as in models that were
    published in bfloat16. A row of each map tells.
    """
    rows = [one.weight[:1] for one in linear_maps(base).values() if not is_quantized(one)]
    if all(row.dtype == torch.bfloat16 for row in rows):
        return 0
    equal = not any(row.is_meta for row in rows) and all(
        torch.equal(row.to(torch.bfloat16).to(row.dtype), row) for row in rows
    )
    return 2 - 4 * (once and equal)


def _head_bytes(base: nn.Module) -> int:
    """Bytes more for each weight of the embeddings and the head in bfloat16 (`assay.train.fused`).

    2 for a head that is cast once, 2 for embeddings that become float32.
    """
    embeddings: torch.Tensor = base.get_input_embeddings().weight  # type: ignore[operator]
    if embeddings.dtype != torch.bfloat16:
        return 2
    return 4 if base.get_output_embeddings().weight is embeddings else 2  # type: ignore[operator]


def largest_pass(model: nn.Module, units: Sequence[Unit], settings: FineTune) -> tuple[int, int]:
    """Most tokens of a pass and the trunk it is over, shared ones counted once; the longest trunk.

    Looked at are the first epoch's first steps and one of the longest rows.
    """
    by_length = sorted(units, key=_length, reverse=True)
    size = settings.rows_per_step
    order = epoch_order(len(units), settings.seed, 0)[: size * _STEPS_LOOKED_AT]
    steps = [[units[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
    most, longest, base = 0, 0, causal_lm(model)
    for members in [by_length[:size], *steps]:
        for family in in_passes(model, members, settings.tokens_per_pass):
            start = len(family.trunk)
            longest = max(longest, start)
            for places in family.passes:
                rows = [row for place in places for row in members[place].rows]
                most = max(most, start + _held(base, [row.inputs[start:] for row in rows]))
    return most, longest


def _held(base: nn.Module, rows: Sequence[Sequence[int]]) -> int:
    """Tokens of a pass, as the model's rows lie in it."""
    layout = layout_of(base)
    if layout == "tree":
        return packed_tokens(rows)
    return sum(map(len, rows)) if layout == "packed" else len(rows) * max(map(len, rows))


def remedies(
    model: nn.Module, units: Sequence[Unit], settings: FineTune, available: int, compute: str
) -> str:
    """What to change so that a training fits into `available` bytes, the least first."""
    on: dict[str, object] = {"activation_checkpointing": "on"}
    longest = max(map(_length, units))
    fewer = max(64, settings.tokens_per_pass // 4, longest)
    tries: list[dict[str, object]] = [
        {"tokens_per_pass": max(fewer, settings.tokens_per_pass // 2)},
        {"tokens_per_pass": fewer},
        on,
        {**on, "tokens_per_pass": fewer},
        {**on, "tokens_per_pass": fewer, "rank": max(1, settings.rank // 4)},
        {**on, "tokens_per_pass": fewer, "adapter": "lora"},
    ]
    if settings.embeddings == "train":
        frozen: dict[str, object] = {"embeddings": "frozen"}
        tries += [frozen, {**tries[3], **frozen}, {**tries[4], **frozen}]
    for changes in tries:
        changed = settings.model_copy(update=changes)
        if changed != settings and training_bytes(model, units, changed, compute) <= available:
            said = ", ".join(f"fine_tune.{name}: {value}" for name, value in changes.items())
            without = " and leave out fine_tune.embedding_rate" if "embeddings" in changes else ""
            return f"Set {said}{without}."
    changed = settings.model_copy(update=tries[-1])
    needed = readable(training_bytes(model, units, changed, compute))
    frozen_too = ", embeddings: frozen" if settings.embeddings == "train" else ""
    return (
        f"Leave out the longest rows (the longest has {longest} tokens; see fine_tune.max_tokens), "
        "choose a smaller model, or close other programs; with "
        f"fine_tune.tokens_per_pass: {fewer}, activation_checkpointing: on{frozen_too} and a lower "
        f"rank it would still need {needed}."
    )


def check_memory(
    model: nn.Module,
    units: Sequence[Unit],
    settings: FineTune,
    compute: str,
    processes: int = 1,
    *,
    copies: int = 0,
    setting: str = "ranks",
    held: int = 0,
) -> None:
    """Refuse a training that does not fit.

    Args:
        processes: of this machine that train at once.
        copies: of the base weights that they load, beside the one that is here.
        setting: of `place`, that says how many.
        held: bytes of it that these processes keep already, such as a base loaded for the last one.

    Raises:
        ModelError: not even one fits; it says what to change.
        ConfigError: not so many at once.
    """
    available = available_bytes(device_of(model))
    needed = training_bytes(model, units, settings, compute)
    if needed > available:
        raise no_memory(
            f"training needs about {readable(needed)} in addition to the base weights, but only "
            f"{readable(available)} is free.",
            model,
            units,
            settings,
            compute,
        )
    together = processes * needed + copies * bytes_of(model) - held
    if together > available:
        raise ConfigError(
            f"{processes} processes on this machine need about {readable(together)} more together, "
            f"but only {readable(available)} is free.",
            where=f"{CONFIG_FILE}, place.{setting}",
            fix=f"Train with fewer {setting} (`--{setting}`) or with `--on here`.",
        )


def bytes_of(model: nn.Module) -> int:
    """Bytes that the weights of a model take in memory."""
    return sum(one.numel() * one.element_size() for one in model.parameters())


def no_memory(
    what: str, model: nn.Module, units: Sequence[Unit], settings: FineTune, compute: str
) -> ModelError:
    """The error of a training that does not fit, with what to change."""
    return ModelError(
        what, fix=remedies(model, units, settings, available_bytes(device_of(model)), compute)
    )


def _length(unit: Unit) -> int:
    return max(len(row.ids) for row in unit.rows)


def _shapes(maps: Iterable[Any]) -> list[tuple[int, int]]:
    """(inputs, outputs) of linear maps."""
    shapes = map(shape_of, maps)
    return [(inputs, outputs) for outputs, inputs in shapes]
