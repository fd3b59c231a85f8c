"""One training in several processes (`assay.place`): who computes which rows, what is added up.

Each rank holds all that is trained and knows all rows. Of a step (or of validation) it takes a
part, divides its loss by the whole step's divisor, and adds its gradient to the others': so all
ranks make the same update, equal to the bit, and none has to be told where they are. Rank 0 alone
writes files, tells how far it is, and hears Ctrl-C; the others are `assay.train.follow`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from assay.config import CONFIG_FILE, Place, TrainingSettings
from assay.errors import ConfigError
from assay.place.processes import check_ray_installed
from assay.place.ranks import Ranks
from assay.train.methods import registry
from assay.train.methods.identity import unknown_elsewhere
from assay.train.methods.spec import MethodSpec
from assay.train.sequences import Unit


def check_place(
    place: Place, settings: TrainingSettings, own_method: MethodSpec | None = None
) -> None:
    """Refuse, before anything is loaded, what several processes cannot train.

    Args:
        own_method: a method that was handed over, and that no other process can find.

    Raises:
        ConfigError: Ray is not installed, entries are dropped at random, or there is such a method;
            all weights are trained, entries dropped or several processes asked for where it learns
            from graders.
    """
    if (own_method or registry.find(settings.method)).reinforces:
        _check_reinforcement(place, settings)
    if place.size == 1:
        return
    check_ray_installed()
    if settings.dropout:
        raise ConfigError(
            "several processes cannot train with dropout: each would drop other entries.",
            where=f"{CONFIG_FILE}, fine_tune.dropout",
            fix="Set fine_tune.dropout: 0, or train with `--on here`.",
        )
    if own_method is not None:
        raise unknown_elsewhere(own_method)


def _check_reinforcement(place: Place, settings: TrainingSettings) -> None:
    if settings.adapter == "full":
        raise ConfigError(
            "reinforcement needs an adapter, so that what it starts from is still there to compare "
            "with; use lora, rslora or dora.",
            where=f"{CONFIG_FILE}, fine_tune.adapter",
        )
    if settings.dropout:
        raise ConfigError(
            "reinforcement needs the probabilities that answers were drawn with, which dropout "
            "changes; set it to 0.",
            where=f"{CONFIG_FILE}, fine_tune.dropout",
        )
    if place.size > 1:
        raise ConfigError(
            "several processes cannot share a training that learns from graders yet.",
            where=f"{CONFIG_FILE}, place",
            fix="Train with `--on here`, or set place.ranks: 1.",
        )


def own_part(units: Sequence[Unit], ranks: Ranks) -> Sequence[Unit]:
    """The units that this rank computes: neighbours in the order of their tokens, so that what they
    share is shared within a rank, and about as many tokens as the others have. One rank: all."""
    if ranks.size == 1:
        return units
    order = sorted(units, key=lambda unit: unit.rows[0].ids)
    lengths = [sum(len(row.inputs) for row in unit.rows) for unit in order]
    total = sum(lengths)
    part = []
    for unit, length, end in zip(order, lengths, accumulate(lengths), strict=True):
        middle = end - length / 2
        if int(middle * ranks.size / total) == ranks.number:
            part.append(unit)
    return part


def add_figures(ranks: Ranks, *figures: float) -> tuple[float, ...]:
    """The sum of each figure over all ranks."""
    if ranks.size == 1:
        return figures
    together = torch.tensor(figures, dtype=torch.float64)
    ranks.add(together)
    return tuple(together.tolist())


def add_gradients(ranks: Ranks, parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by the sum over all ranks, in one message.

    A parameter that has had none in any rank (an unused expert) still has none.
    """
    if ranks.size == 1:
        return
    own = [*parameters]
    has = [0.0 if p.grad is None else 1.0 for p in own]
    flat = _flat([torch.zeros_like(p) if p.grad is None else p.grad for p in own], has)
    ranks.add(flat)
    counts = flat[len(flat) - len(own) :].tolist()
    for parameter, values, count in zip(own, _divided(flat, own), counts, strict=True):
        parameter.grad = values if count else None


def take_first(ranks: Ranks, parameters: Iterable[nn.Parameter]) -> None:
    """Give every rank the values of rank 0."""
    if ranks.size == 1:
        return
    own = [*parameters]
    flat = _flat([p.detach() for p in own], [])
    ranks.add(flat if ranks.number == 0 else flat.zero_())
    with torch.no_grad():
        for parameter, values in zip(own, _divided(flat, own), strict=True):
            parameter.copy_(values)


def _flat(tensors: Sequence[Tensor], more: Sequence[float]) -> Tensor:
    return torch.cat([*(t.reshape(-1) for t in tensors), torch.tensor(more, dtype=torch.float32)])


def _divided(flat: Tensor, like: Sequence[nn.Parameter]) -> list[Tensor]:
    sizes = [p.numel() for p in like]
    parts = torch.split(flat[: sum(sizes)], sizes)
    return [part.view(p.shape) for part, p in zip(parts, like, strict=True)]
