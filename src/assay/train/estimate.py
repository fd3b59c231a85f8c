"""What a training will take, before it starts: seconds and bytes.

The bytes are counted from the model's linear maps and the longest rows; the factor was fitted to
measured peaks (docs/training.md). The seconds need a speed: `probe_speed` measures it on the rows
themselves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from torch import nn

from assay.config import FineTune
from assay.models.load import LoadedModel
from assay.train import adapters
from assay.train.device import compute_dtype, computing
from assay.train.loss import CHUNK
from assay.train.sequences import TrainingSequence, alone
from assay.train.step import step

_EVALUATION = 1 / 3  # of the cost of a step: forward only
_ACTIVATIONS = 1.6  # floats kept for the backward pass, per input and output of a linear map
_ADAPTER_COPIES = 5  # weight, gradient, two moments, one copy while a checkpoint is written


def estimate(
    model: nn.Module,
    sequences: Sequence[TrainingSequence],
    settings: FineTune,
    tokens_per_s: float,
    validation: Sequence[TrainingSequence] = (),
) -> tuple[float, int]:
    """Seconds of all epochs, and bytes needed beside the base weights.

    Args:
        model: the base; only the shapes of its linear maps count (a model on torch's meta device
            will do).
        tokens_per_s: tokens (padding not counted) through a step, see `probe_speed`.
    """
    tokens = sum(len(row.ids) for row in sequences)
    tokens_validated = sum(len(row.ids) for row in validation)
    seconds = settings.epochs * (tokens + _EVALUATION * tokens_validated) / tokens_per_s
    return seconds, training_bytes(model, sequences, settings)


def training_bytes(
    model: nn.Module, sequences: Sequence[TrainingSequence], settings: FineTune
) -> int:
    """Bytes beside the base weights: adapter, optimiser, activations, logits, cast weights."""
    linear = _linear_shapes(model)
    adapter = 4 * settings.rank * sum(i + o for i, o in linear)
    longest = max((len(row.ids) for row in sequences), default=0)
    step_tokens = sum(
        sorted((len(row.ids) for row in sequences), reverse=True)[: settings.rows_per_step]
    )
    tokens = max(longest, min(step_tokens, settings.tokens_per_pass))
    activations = 4 * tokens * _ACTIVATIONS * sum(i + o + settings.rank for i, o in linear)
    vocabulary: int = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    logits = 4 * 3 * CHUNK * vocabulary
    cast = 2 * sum(i * o for i, o in linear)
    return math.ceil(_ADAPTER_COPIES * adapter + activations + logits + cast)


def probe_speed(
    loaded: LoadedModel,
    sequences: Sequence[TrainingSequence],
    settings: FineTune | None = None,
    seconds: float = 3.0,
) -> float:
    """Tokens a second through a training step, measured for about `seconds` on real rows.

    Rows are taken evenly over the lengths. The model is given back as it was.
    """
    settings = settings or FineTune()
    by_length = sorted(sequences, key=lambda row: len(row.ids))
    wanted = min(settings.rows_per_step, len(by_length))
    rows = [by_length[(2 * i + 1) * len(by_length) // (2 * wanted)] for i in range(wanted)]
    compute = compute_dtype(loaded)
    tokens, spent = 0, 0.0
    with adapters.adapted(loaded, settings) as model, computing(model, compute):
        model.train()
        step(model, alone(rows[:1]))  # the first call also pays for threads and buffers
        while spent < seconds:
            began = time.monotonic()
            step(model, alone(rows))
            spent += time.monotonic() - began
            tokens += sum(len(row.ids) for row in rows)
            model.zero_grad(set_to_none=True)
    return tokens / spent


def _linear_shapes(model: nn.Module) -> list[tuple[int, int]]:
    """(inputs, outputs) of every linear map that gets an adapter."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    return [
        (module.weight.shape[1], module.weight.shape[0])
        for name, module in model.named_modules()
        if module is not head
        and hasattr(module, "weight")
        and module.weight.dim() == 2
        and not isinstance(module, nn.Embedding)
        and ".lora_" not in name
        and not hasattr(module, "base_layer")
    ]
