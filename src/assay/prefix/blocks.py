"""The parts of attention over a pack: which queries over which keys, so that nothing is N × N.

Between them every token sees exactly the nodes on its path and the earlier tokens of its own
segment, itself in the first part it is in. A part is for torch's kernel where that knows it, else
for matrix products of a bounded size (`assay.prefix.training` computes both).

Letters in shape comments: M queries and P keys of a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from assay.prefix.products import BLOCK, ROWS

if TYPE_CHECKING:
    from assay.prefix.pack import Pack

TILE = 128
"""Tokens of neighbouring segments that are one part: where rows are short, the number of parts is
what takes the time (docs/training.md)."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part: the queries of some tokens over the keys of some tokens.

    Attributes:
        query, key: which tokens.
        own: the tokens see themselves and what is before them; the first part of each query.
        hidden: [M, P], keys that a query must not see, as `fused` takes them: for products a bool,
            for the kernel what is added to a score, 0 or −∞. None: those of `own` alone.
        fused: for torch's kernel.
    """

    query: slice
    key: slice
    own: bool
    hidden: Tensor | None
    fused: bool


def blocks_of(pack: Pack, heads: int, window: int | None, *, fused: float) -> list[Block]:
    """The parts of a layer; between them every token sees exactly what it may, itself first.

    Args:
        fused: most pairs of a query and a key that it sees in a part for torch's kernel.
    """

    def make() -> list[Block]:
        blocks: list[Block] = []
        ends: dict[int, int] = {}  # of the tile, by the start of a segment
        for start, end, segments in _tiles(pack):
            ends |= dict.fromkeys(segments, end)
            if len(segments) > 1:
                blocks.append(_tile(pack, start, end, window, fused=fused))
            else:
                blocks += _own_blocks(pack, start, end, window, fused=fused)
        for below in pack.below:
            queries = ends[below.start], below.last
            if queries[0] >= queries[1]:
                continue
            key = slice(below.start + pack.start, below.end + pack.start)
            first = int(pack.position[below.start])
            blocks += _earlier_blocks(pack, queries, key, first, heads, window, fused=fused)
        if pack.start:
            queries = 0, len(pack.ids)
            trunk = slice(0, pack.start)
            blocks += _earlier_blocks(pack, queries, trunk, 0, heads, window, fused=fused)
        return blocks

    return pack.once((heads, window, fused), make)


def _tiles(pack: Pack) -> Iterator[tuple[int, int, list[int]]]:
    """Neighbouring segments that one part is to hold: start and end of the tile, their starts."""
    segments: list[int] = []
    first = last = 0
    for start, end in pack.segments:
        if segments and end - first > TILE:
            yield first, last, segments
            segments = []
        if not segments:
            first = start
        segments.append(start)
        last = end
    yield first, last, segments


def _tile(pack: Pack, start: int, end: int, window: int | None, *, fused: float) -> Block:
    """The tokens of some segments over each other, as far as they see one another."""
    for_kernel = (end - start) ** 2 <= fused
    place = torch.arange(start, end, device=pack.device)
    query, own = place[:, None], slice(start, end)
    hidden = (place > query) | (query >= pack.exit[own])
    if window is not None:
        position = pack.position[own]
        hidden |= position[:, None] - position >= window
    if for_kernel:
        hidden = torch.zeros(hidden.shape, device=pack.device).masked_fill_(hidden, -torch.inf)
    key = slice(start + pack.start, end + pack.start)
    return Block(own, key, own=True, hidden=hidden, fused=for_kernel)


def _own_blocks(
    pack: Pack, start: int, end: int, window: int | None, *, fused: float
) -> Iterator[Block]:
    """The tokens of a segment over the earlier ones of it and themselves."""
    if (end - start) ** 2 / 2 <= fused and (window is None or end - start <= window):
        key = slice(start + pack.start, end + pack.start)
        yield Block(slice(start, end), key, own=True, hidden=None, fused=True)
        return
    for low in range(start, end, ROWS):
        high = min(low + ROWS, end)
        first = start if window is None else max(start, low - window + 1)
        row = torch.arange(low, high, device=pack.device)
        distance = row[:, None] - torch.arange(first, high, device=pack.device)
        hidden = distance < 0
        if window is not None:
            hidden |= distance >= window
        key = slice(first + pack.start, high + pack.start)
        yield Block(slice(low, high), key, own=True, hidden=hidden, fused=False)


def _earlier_blocks(
    pack: Pack,
    queries: tuple[int, int],
    key: slice,
    first: int,
    heads: int,
    window: int | None,
    *,
    fused: float,
) -> Iterator[Block]:
    """Tokens over a run of keys on the path of all of them; `first` is its first position."""
    start, end = queries
    count = key.stop - key.start
    reach = int(pack.position[start:end].max()) - first
    if (end - start) * count <= fused and (window is None or reach < window):
        yield Block(slice(start, end), key, own=False, hidden=None, fused=True)
        return
    positions = torch.arange(first, first + count, device=pack.device)
    step = max(64, BLOCK // (heads * count))
    for low in range(start, end, step):
        high = min(low + step, end)
        hidden = None
        if window is not None:
            far = pack.position[low:high, None] - positions >= window
            if bool(far.all()):
                continue
            if bool(far.any()):
                hidden = far
        plain = (high - low) * count <= fused and hidden is None
        yield Block(slice(low, high), key, own=False, hidden=hidden, fused=plain)
