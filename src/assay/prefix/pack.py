"""Token sequences laid out as a tree for one training pass, every shared token once.

The tokens of a pass lie in one row of N, depth first: a node's own tokens, then everything below
it. So what sees a node is one run of tokens behind it, and attention over the tree is a few plain
matrix products (`assay.prefix.training`).

    pack = Pack(sequences, device)           # ids and positions [N]; pack.places[s][t]
    hidden = decoder(input_ids=pack.ids[None], position_ids=pack.position[None], pack=pack, ...)
    hidden[0, pack.places[s][t]]             # of token t of sequence s
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from assay.models.device import index_tensors
from assay.prefix.products import Scratch
from assay.prefix.tree import LEAST_SAVED, SHORTEST, Node, common_length, plan

if TYPE_CHECKING:
    from assay.prefix.trunk import Trunk

T = TypeVar("T")

CHEAP = 1 / 20
"""Computing tokens again in a new pass costs little where they are at most this share of a pass."""


@dataclass(frozen=True, slots=True)
class NodeSpan:
    """Tokens start..end of a node, seen by every token end..last of the pass."""

    start: int
    end: int
    last: int


@dataclass(eq=False)
class Pack:
    """The layout of one pass.

    Args:
        sequences: token ids, at least one each.
        device: where the tensors go.
        shortest, least_saved: what makes a node worth it, see `assay.prefix.tree.plan`.
        trunk: what all of them start with, computed before; the pass is over the rest.

    Attributes:
        start: tokens of the trunk, P; keys and places count them, before those of the pass.
        ids, position: [N] the tokens and their positions, counted along each path.
        exit: [N] the place behind everything that descends from a token: token k is seen by q
            when k ≤ q < exit[k] (and within the window of the layer).
        segments: the runs of tokens that see themselves, start..end each.
        below: what sees a node's tokens beside them.
        places: for each sequence, [T] where its tokens are.
    """

    sequences: Sequence[Sequence[int]]
    device: torch.device
    shortest: int = SHORTEST
    least_saved: int = LEAST_SAVED
    trunk: Trunk | None = None
    start: int = field(init=False)
    ids: Tensor = field(init=False)
    position: Tensor = field(init=False)
    exit: Tensor = field(init=False)
    below: list[NodeSpan] = field(init=False, default_factory=list)
    segments: list[tuple[int, int]] = field(init=False, default_factory=list)
    places: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.trunk.tokens if self.trunk else 0
        sequences = [tuple(s)[self.start :] for s in self.sequences]
        nodes = plan(sequences, shortest=self.shortest, least_saved=self.least_saved)
        children: dict[Node | None, list[Node]] = defaultdict(list)
        leaves: dict[Node | None, list[int]] = defaultdict(list)
        for place, node in enumerate(nodes):
            leaves[node].append(place)
        for node in {id(n): n for deepest in leaves if deepest for n in deepest.path()}.values():
            children[node.parent].append(node)
        ids: list[int] = []
        position: list[int] = []
        leaving: list[int] = []
        found: dict[int, list[tuple[int, int]]] = {}

        def put(tokens: Sequence[int], start: int) -> tuple[int, int]:
            segment = len(ids), len(ids) + len(tokens)
            ids.extend(tokens)
            first = self.start + start
            position.extend(range(first, first + len(tokens)))
            leaving.extend([segment[1]] * len(tokens))
            self.segments.append(segment)
            return segment

        pending: list[tuple[Node | None, list[tuple[int, int]], bool]] = [(None, [], False)]
        while pending:
            node, path, done = pending.pop()
            if done:  # everything below has been laid out
                start, end = path[-1]
                leaving[start:end] = [len(ids)] * (end - start)
                self.below.append(NodeSpan(start, end, len(ids)))
                continue
            if node is not None:
                path = [*path, put(node.tokens[node.start :], node.start)]
                pending.append((node, path, True))
            depth = node.end if node else 0
            for place in sorted(leaves[node], key=lambda p: (len(sequences[p]), sequences[p])):
                found[place] = [*path, put(sequences[place][depth:], depth)]
            below = sorted(children[node], key=lambda n: n.tokens, reverse=True)
            pending.extend((child, path, False) for child in below)
        self.ids, self.position, self.exit = index_tensors(self.device, ids, position, leaving)
        self.places = [
            torch.cat([torch.arange(*run) for run in [(-self.start, 0), *found[place]]])
            + self.start
            for place in range(len(sequences))
        ]

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns, made the first time: every layer of a pass asks for the same."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    scratch: Scratch = field(init=False, default_factory=Scratch)
    _made: dict[Hashable, Any] = field(init=False, default_factory=dict)


def group_into_packs(
    units: Sequence[Sequence[Sequence[int]]], tokens: int, enough: int | None = None
) -> list[list[int]]:
    """Which units go through the model together, so that what they share is computed once.

    Args:
        units: sequences that must stay together (one, or the two of a preference pair).
        tokens: most tokens of a pack, shared ones counted once; a larger unit stands alone.
        enough: a pack of so many tokens takes no unit with which it shares next to nothing (at
            most `CHEAP` of its tokens); None: it does, up to `tokens`.

    Returns:
        Places of the units, sorted by their tokens: neighbours share the most.
    """
    order = sorted(range(len(units)), key=lambda i: tuple(units[i][0]))
    packs: list[list[int]] = []
    held = 0
    before: tuple[int, ...] = ()
    for place in order:
        rows = sorted(tuple(row) for row in units[place])
        alone = len(rows[0]) + sum(len(b) - common_length(a, b) for a, b in pairwise(rows))
        shared = common_length(before, rows[0]) if packs else 0
        added = alone - shared
        full = enough is not None and held >= enough and shared <= CHEAP * held
        if not packs or full or held + added > tokens:
            packs.append([])
            held, added = 0, alone
        packs[-1].append(place)
        held += added
        before = rows[0]
    return [part for pack in packs for part in _bounded(units, pack, tokens)]


def _bounded(
    units: Sequence[Sequence[Sequence[int]]], places: list[int], tokens: int
) -> list[list[int]]:
    """Halves of a pack that is larger than counted: not all that is shared is worth a node."""
    rows = [row for place in places for row in units[place]]
    if len(places) == 1 or packed_tokens(rows) <= tokens:
        return [places]
    middle = len(places) // 2
    halves = places[:middle], places[middle:]
    return [part for half in halves for part in _bounded(units, half, tokens)]


def packed_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens that the pack of some sequences has."""
    whole = [tuple(s) for s in sequences]
    deepest = plan(whole)
    nodes = {id(n): n for node in deepest if node for n in node.path()}.values()
    own = (len(s) - (n.end if n else 0) for s, n in zip(whole, deepest, strict=True))
    return sum(n.end - n.start for n in nodes) + sum(own)
