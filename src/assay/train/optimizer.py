"""The optimiser of a training: made of the settings, and its state as tensors by parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from assay.config import FineTune

COPIES = {"adamw": 4, "sgd": 3, "adafactor": 2}
"""Of what is trained, in float32: weight, gradient, moments; Adafactor's are a row and a column."""


def optimizer_of(
    settings: FineTune, parameters: Mapping[str, nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimiser that `settings.optimizer` names.

    AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), Adafactor (Shazeer & Stern 2018,
    arXiv:1804.04235; the rate is relative to the size of each weight, see `rate_of`), or SGD with
    momentum.

    Embeddings and head beside an adapter are a group of their own, whose `share` of the learning
    rate `set_rate` gives them.
    """
    own, rate, decay = _groups(settings, parameters), settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adafactor":
        return torch.optim.Adafactor(own, lr=rate, weight_decay=decay)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(own, lr=rate, weight_decay=decay, momentum=settings.momentum)
    return torch.optim.AdamW(
        own,
        lr=rate,
        betas=settings.betas,
        eps=settings.epsilon,
        weight_decay=decay,
        fused=True,  # one pass over memory instead of ten
    )


def _groups(settings: FineTune, parameters: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
    if settings.embeddings == "frozen":
        return [{"params": [*parameters.values()], "share": 1.0}]
    beside = [one for name, one in parameters.items() if ".lora_" in name]
    whole = [one for name, one in parameters.items() if ".lora_" not in name]
    return [
        {"params": beside, "share": 1.0},
        {"params": whole, "share": settings.embedding_rate},
    ]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next step take `rate`, each group its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def rate_of(optimizer: torch.optim.Optimizer, step: int) -> float:
    """The learning rate that a step has taken, 1 being the first; of an adapter where there is one.

    Adafactor takes at most 1/√step of whatever it is given (the paper's relative step size).
    """
    rate = float(optimizer.param_groups[0]["lr"])
    return min(rate, step**-0.5) if isinstance(optimizer, torch.optim.Adafactor) else rate


def state_of(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """Its state on the CPU, `NAME/PART`; a parameter without a gradient so far has none."""
    return {
        f"{name}/{part}": value.cpu()
        for name, parameter in parameters.items()
        for part, value in optimizer.state[parameter].items()
        if value is not None
    }


def set_state(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    saved: Mapping[str, Tensor],
) -> None:
    """Give an optimiser of the same settings the state that `state_of` has returned."""
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in saved.items():
        name, _, part = key.rpartition("/")
        by_name.setdefault(name, {})[part] = value
    fused = bool(optimizer.defaults.get("fused"))
    for name, parts in by_name.items():
        device = parameters[name].device
        # A fused optimiser has its count of steps beside its moments, others on the CPU.
        optimizer.state[parameters[name]] = {
            part: value if part == "step" and not fused else value.to(device)
            for part, value in parts.items()
        }
