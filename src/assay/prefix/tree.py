"""Which prefixes a set of token sequences share, found once, as a tree.

A system prompt repeated in every request is one node; few-shot blocks that some requests share
are nodes below it; what a request shares with nobody stays its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

SHORTEST = 16
"""A node of fewer tokens costs more in bookkeeping than it saves."""
LEAST_SAVED = 64
"""Tokens that a node must save over all its sequences."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Tokens `start`..`end` that at least two sequences share.

    Attributes:
        parent: the node that ends where this one starts, None at the root.
        tokens: every token from the root's first to this node's last, `end` of them.
        start: position of this node's own first token.
    """

    parent: Node | None
    tokens: tuple[int, ...]
    start: int

    @property
    def end(self) -> int:
        """Position after the node's last token."""
        return len(self.tokens)

    def path(self) -> list[Node]:
        """The nodes from the root to this one."""
        nodes: list[Node] = []
        node: Node | None = self
        while node is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of tokens that two sequences have in common from the start."""
    if a[: len(b)] == b[: len(a)]:
        return min(len(a), len(b))
    low, high = 0, min(len(a), len(b))
    while low + 1 < high:  # a[:low] == b[:low] and a[:high] != b[:high]
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def plan(
    sequences: Sequence[tuple[int, ...]],
    below: Node | None = None,
    *,
    shortest: int = SHORTEST,
    least_saved: int = LEAST_SAVED,
) -> list[Node | None]:
    """The deepest node of each sequence, in order; None where nothing worth it is shared.

    Args:
        sequences: token ids, each at least one token longer than `below`.
        below: a node that all of them are known to start with.
        shortest: tokens that a node must have.
        least_saved: tokens that it must save over all its sequences.

    The last token of a sequence is never part of a node: whoever runs the sequence needs the
    logits there.
    """
    order = sorted(range(len(sequences)), key=lambda i: sequences[i])
    ordered = [sequences[i] for i in order]
    shared = [common_length(a, b) for a, b in pairwise(ordered)]
    found: list[Node | None] = [below] * len(sequences)
    pending: list[tuple[int, int, Node | None]] = [(0, len(ordered), below)]
    while pending:
        low, high, node = pending.pop()
        if high - low < 2:
            continue
        depth = min(shared[low : high - 1])
        cut = min(depth, min(len(s) for s in ordered[low:high]) - 1)
        start = node.end if node else 0
        if cut - start >= shortest and (cut - start) * (high - low - 1) >= least_saved:
            node = Node(node, ordered[low][:cut], start)
            for place in range(low, high):
                found[order[place]] = node
        for run in _runs(shared, low, high, depth):
            pending.append((*run, node))
    return found


def _runs(shared: Sequence[int], low: int, high: int, depth: int) -> Iterator[tuple[int, int]]:
    """Runs of low..high whose neighbours share more than `depth` tokens."""
    start = low
    for place in range(low, high):
        if place == high - 1 or shared[place] <= depth:
            if place + 1 - start >= 2:
                yield start, place + 1
            start = place + 1
