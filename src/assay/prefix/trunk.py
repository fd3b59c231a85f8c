"""What many sequences start with, computed once for several passes over the rest of them.

A tree that is too large for one pass is computed in pieces: its trunk first; then what stands on
it, pass by pass, each over the trunk's keys and values; last the gradient of the trunk, from what
the passes left there. The chain rule, nothing else: loss and gradients are those of one pass, while
no more than the trunk and one pass is in memory.

    for group in group_by_trunk(units, tokens=4096, enough=512):
        trunk = Trunk(len(group.trunk))     # its pass: the model with `keep=trunk`
        for places in group.passes:
            Pack(sequences, device, trunk=trunk)
        trunk.backward()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from assay.prefix.pack import group_into_packs
from assay.prefix.tree import common_length

LEAST = 128
"""Tokens of a trunk, at least: below, a pass more costs as much as computing them again."""
PIECE = 256
"""Tokens of a pass over a trunk, where there are so many: smaller ones are slower."""


@dataclass(eq=False)
class Trunk:
    """The tokens that all sequences of a family start with, at run time.

    Attributes:
        tokens: how many.
        hidden: [P, D] their last hidden states, for the passes; a leaf that gathers gradients.
    """

    tokens: int
    hidden: Tensor = field(init=False)
    _computed: dict[int, tuple[Tensor, Tensor]] = field(init=False, default_factory=dict)
    _given: dict[int, tuple[Tensor, Tensor]] = field(init=False, default_factory=dict)
    _states: Tensor = field(init=False)

    def keep(self, layer: int, key: Tensor, value: Tensor) -> None:
        """A layer's keys and values [1, K, P, D]; those of its first run, should it run again."""
        if layer not in self._computed:
            self._computed[layer] = key, value
            self._given[layer] = _leaf(key), _leaf(value)

    def end(self, hidden: Tensor) -> None:
        """The trunk's last hidden states [P, D]."""
        self._states, self.hidden = hidden, _leaf(hidden)

    def before(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """A pass's own keys and values [1, K, N, D] behind the trunk's: [1, K, P + N, D]."""
        of_key, of_value = (given.to(value.dtype) for given in self._given[layer])
        return torch.cat([of_key, key], dim=2), torch.cat([of_value, value], dim=2)

    def backward(self) -> None:
        """Add the trunk's gradient, from what the passes over it have gathered."""
        computed = [self._states, *(t for pair in self._computed.values() for t in pair)]
        given = [self.hidden, *(t for pair in self._given.values() for t in pair)]
        pairs = zip(computed, given, strict=True)
        gathered = [(t, g.grad.to(t.dtype)) for t, g in pairs if g.grad is not None]
        if gathered:
            torch.autograd.backward([t for t, _ in gathered], [g for _, g in gathered])


def _leaf(tensor: Tensor) -> Tensor:
    """The same values; gradients gather in float32, however many passes add to them."""
    return tensor.detach().float().requires_grad_(tensor.requires_grad)


@dataclass(frozen=True, slots=True)
class TrunkGroup:
    """Units that are computed one pass after the other, over what all of them start with.

    Attributes:
        trunk: those tokens; none where there is but one pass, or nothing that is worth it.
        passes: places of the units that go through the model together.
    """

    trunk: tuple[int, ...]
    passes: list[list[int]]


def group_by_trunk(
    units: Sequence[Sequence[Sequence[int]]], tokens: int, enough: int | None = None
) -> list[TrunkGroup]:
    """All units, such that next to nothing is computed twice.

    Args:
        units, enough: as `group_into_packs`.
        tokens: most tokens of a trunk and a pass over it; where the trunk leaves less than `PIECE`
            of them, a pass may have so many.
    """
    families = []
    for places, trunk in _with_trunk(units, group_into_packs(units, tokens, enough)):
        start = len(trunk)
        rests = [[row[start:] for row in units[place]] for place in places]
        passes = [[*range(len(places))]]
        if trunk:
            passes = group_into_packs(rests, max(tokens - start, min(PIECE, tokens)))
        found = [[places[i] for i in members] for members in passes]
        families.append(TrunkGroup(trunk, found) if len(found) > 1 else TrunkGroup((), [places]))
    return families


def _with_trunk(
    units: Sequence[Sequence[Sequence[int]]], packs: Sequence[list[int]]
) -> list[tuple[list[int], tuple[int, ...]]]:
    """Packs one behind the other that share a trunk, put together; and their trunk."""
    found: list[tuple[list[int], tuple[int, ...], int]] = []
    for pack in packs:
        shared = _shared([row for place in pack for row in units[place]])
        if found:
            places, trunk, count = found[-1]
            length = common_length(trunk, shared)
            # Not where packs that share much with each other would have to compute it each.
            if length >= LEAST and (count == 1 or 2 * length >= len(trunk)):
                found[-1] = [*places, *pack], trunk[:length], count + 1
                continue
        found.append((pack, shared, 1))
    return [(places, trunk if len(trunk) >= LEAST else ()) for places, trunk, _ in found]


def _shared(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """What all rows start with; never the last token of one."""
    ordered = sorted(tuple(row) for row in rows)
    length = min(len(row) - 1 for row in ordered)
    return ordered[0][: min([length, *(common_length(a, b) for a, b in pairwise(ordered))])]
