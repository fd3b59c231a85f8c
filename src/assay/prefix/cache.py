"""Keys and values: of prefixes, kept once; of the rows of a batch, each its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from assay.prefix.products import Scratch
from assay.prefix.tree import Node


@dataclass(frozen=True, eq=False)
class Prefix:
    """The keys and values of one node, `layers[i]` = two tensors [K, P, D]."""

    node: Node
    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def size(self) -> int:
        """Bytes of the keys and values."""
        return sum(t.numel() * t.element_size() for pair in self.layers for t in pair)


class PrefixCache:
    """The prefixes used last, up to a number of bytes, so that the next call finds them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, node: Node) -> Prefix | None:
        """The prefix of exactly this node."""
        prefix = self._kept.get(node.tokens)
        if prefix is None or prefix.node is not node:
            return None
        self._kept.move_to_end(node.tokens)
        return prefix

    def match(self, tokens: tuple[int, ...]) -> Node | None:
        """The deepest node kept whose tokens `tokens` start with (and do not end with)."""
        best: Node | None = None
        for known, prefix in self._kept.items():
            fits = len(known) < len(tokens) and tokens[: len(known)] == known
            if fits and (best is None or len(known) > best.end) and self._whole(prefix.node):
                best = prefix.node
        return best

    def keep(self, prefix: Prefix) -> None:
        """Remember a prefix; those used longest ago are forgotten when the limit is passed."""
        self._kept[prefix.node.tokens] = prefix
        self._kept.move_to_end(prefix.node.tokens)
        total = sum(p.size for p in self._kept.values())
        while total > self.limit and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            total -= gone.size

    def _whole(self, node: Node) -> bool:
        return all(
            (kept := self._kept.get(n.tokens)) is not None and kept.node is n for n in node.path()
        )


class Rows:
    """The own keys and values of a batch of rows, in slots that are allotted once.

    Args:
        slots: slots of a row: its own prompt tokens and those it may generate.
    """

    def __init__(self, rows: int, slots: int, layers: int) -> None:
        self.rows, self.slots = rows, slots
        self._layers: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def write(self, layer: int, row: Tensor, slot: Tensor, key: Tensor, value: Tensor) -> None:
        """Put `key` and `value` [K, N, D] of N tokens at their rows and slots."""
        pair = self._layers[layer]
        if pair is None:
            shape = (self.rows, key.shape[0], self.slots)
            pair = (key.new_zeros(*shape, key.shape[2]), value.new_zeros(*shape, value.shape[2]))
            self._layers[layer] = pair
        pair[0][row, :, slot] = key.transpose(0, 1)
        pair[1][row, :, slot] = value.transpose(0, 1)

    def read(self, layer: int, low: int, high: int, slots: int) -> tuple[Tensor, Tensor]:
        """Keys and values [R, K, S, D] of rows low..high, the first `slots` slots."""
        pair = self._layers[layer]
        assert pair is not None
        return pair[0][low:high, :, :slots], pair[1][low:high, :, :slots]

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these."""
        self.rows = len(rows)
        for layer, pair in enumerate(self._layers):
            if pair is not None:  # one layer after the other, so that the peak stays low
                self._layers[layer] = (pair[0].index_select(0, rows), pair[1].index_select(0, rows))

    def to_prefix(self, node: Node) -> Prefix:
        """The first row as the keys and values of a node."""
        return Prefix(node, tuple((k[0], v[0]) for k, v in filter(None, self._layers)))


@dataclass(frozen=True)
class Span:
    """Tokens low..high of a pass all see one prefix; `position` [high − low] are theirs."""

    low: int
    high: int
    prefix: Prefix
    position: Tensor
    first: int
    last: int

    def is_in_reach(self, window: int | None) -> bool:
        """Whether the nearest token of the prefix lies in the window of any token."""
        return window is None or self.first - (self.prefix.node.end - 1) < window

    def hidden(self, window: int | None) -> Tensor | None:
        """[high − low, P] which tokens of the prefix lie beyond the window; None: none do."""
        node = self.prefix.node
        if window is None or self.last - node.start < window:
            return None
        places = torch.arange(node.start, node.end, device=self.position.device)
        return self.position[:, None] - places >= window


@dataclass
class ForwardPass:
    """What the N tokens of one packed forward pass belong to.

    Attributes:
        rows: where the tokens' keys and values go.
        low, high: the rows that take part.
        row: [N] row of each token, counted from `low`.
        slot: [N] its slot in the row; column: [N] its place among the row's tokens of this pass.
        before: of each row that takes part, slots in use before; counts: its tokens of this pass.
        spans: which tokens see which prefix.
    """

    rows: Rows
    low: int
    high: int
    row: Tensor
    slot: Tensor
    column: Tensor
    before: Sequence[int]
    counts: Sequence[int]
    spans: Sequence[Span]
    scratch: Scratch = field(default_factory=Scratch)
    _seen: dict[int | None, Tensor] = field(default_factory=dict)
    _last: dict[tuple[int, int], int] = field(default_factory=dict)

    @cached_property
    def width(self) -> int:
        """Most tokens of a row in this pass."""
        return max(self.counts)

    @cached_property
    def used(self) -> int:
        """Most slots of a row in use after this pass."""
        return max(b + n for b, n in zip(self.before, self.counts, strict=True))

    def store(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keep the keys and values [K, N, D] of this pass."""
        self.rows.write(layer, self.row + self.low, self.slot, key, value)

    def own(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [R, K, S, D] of the rows that take part."""
        return self.rows.read(layer, self.low, self.high, self.used)

    def last_slot(self, low: int, high: int) -> int:
        """The last slot that any of the columns low..high of this pass has come to."""
        if (low, high) not in self._last:
            rows = zip(self.before, self.counts, strict=True)
            self._last[low, high] = max(b + min(n, high) for b, n in rows if n > low) - 1
        return self._last[low, high]

    def seen(self, window: int | None) -> Tensor:
        """[R, T, S] which slots of its own row each token sees."""
        if window not in self._seen:
            at = self.slot.new_zeros(self.high - self.low, self.width)
            at[self.row, self.column] = self.slot
            distance = at[:, :, None] - torch.arange(self.used, device=at.device)
            seen = distance >= 0
            self._seen[window] = seen if window is None else seen & (distance < window)
        return self._seen[window]
