"""Next-token logits for a batch of sequences whose shared prefixes are run through the model once.

decoder = SharedDecoder(model)
for batch in decoder.batches(prompts, room, slots=16384):
    logits = decoder.begin(batch)            # [B, V], one row per prompt of the batch
    logits = decoder.step(rows, tokens)      # after one more token for some of them
    decoder.keep(rows)                       # frees the memory of the others
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from assay.prefix import attention
from assay.prefix.batch import MOST_ROWS, Batch
from assay.prefix.cache import Prefix, PrefixCache
from assay.prefix.packed import PackedRows
from assay.prefix.tree import Node, plan

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

FAMILIES = frozenset(
    {"gemma", "gemma2", "gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"}
)
"""Model types whose shared and unshared logits were compared (tests/prefix/test_families.py)."""
REMEMBERED = 8
"""Prompts of earlier calls that count when prefixes are looked for: requests that come one by one
share their system prompt too."""


def can_share(model: PreTrainedModel) -> bool:
    """Whether prefixes of this model can be shared; other models need `PlainDecoder`.

    Of a model that also reads pictures (Gemma 3) the text part counts: pictures are never given.
    """
    config = model.config.get_text_config()
    return config.model_type in FAMILIES and not getattr(
        config, "use_bidirectional_attention", False
    )


class SharedDecoder:
    """Runs packed passes over rows that share prefixes.

    Args:
        model: of one of `FAMILIES`, in eval mode. Its attention is replaced only inside `running`.
        prefix_bytes: keys and values of prefixes kept for later calls.
    """

    def __init__(self, model: PreTrainedModel, *, prefix_bytes: int = 1 << 29) -> None:
        self.model = model
        self.kept = PrefixCache(prefix_bytes)
        self._recent: list[tuple[int, ...]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """The model with attention over the tree; everything below must be called inside."""
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation(attention.NAME)
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.set_attn_implementation(before)

    def batches(
        self, prompts: Sequence[tuple[int, ...]], room: Sequence[int], slots: int
    ) -> list[Batch]:
        """All prompts in batches, neighbours sharing a path and of like length.

        Args:
            room: tokens that may be generated for each.
            slots: most own tokens (prompt beyond the shared part, and generated) of a batch, each
                row counted as long as the longest.
        """
        nodes = self._plan(prompts)
        own = [
            len(p) - (n.end if n else 0) + r for p, n, r in zip(prompts, nodes, room, strict=True)
        ]
        keys = [
            (node.tokens if node else (), length) for node, length in zip(nodes, own, strict=True)
        ]
        order = sorted(range(len(prompts)), key=keys.__getitem__)
        batches: list[list[int]] = []
        longest = 0
        for place in order:
            longest = max(longest, own[place])
            full = not batches or len(batches[-1]) == MOST_ROWS
            if full or (len(batches[-1]) + 1) * longest > slots:
                batches.append([])
                longest = own[place]
            batches[-1].append(place)
        return [
            Batch(
                tuple(members),
                tuple(prompts[i] for i in members),
                tuple(nodes[i] for i in members),
                max(own[i] for i in members),
            )
            for members in batches
        ]

    def _plan(self, prompts: Sequence[tuple[int, ...]]) -> list[Node | None]:
        """The deepest node of each prompt, nodes already held before new ones."""
        everyone = [*prompts, *self._recent]
        matched = [self.kept.match(tokens) for tokens in everyone]
        found: list[Node | None] = list(matched)
        for start in {id(node): node for node in matched}.values():
            places = [i for i, node in enumerate(matched) if node is start]
            planned = plan([everyone[i] for i in places], below=start)
            for place, node in zip(places, planned, strict=True):
                found[place] = node
        self._recent = [*self._recent, *prompts][-REMEMBERED:]
        return found[: len(prompts)]

    def begin(self, batch: Batch) -> Tensor:
        """Logits [B, V] (float32) after each prompt of a batch."""
        paths = [self._prefixes(node) for node in batch.nodes]
        self._rows = PackedRows(self.model, paths, batch.slots)
        return self._rows.prefill(
            [p[n.end if n else 0 :] for p, n in zip(batch.prompts, batch.nodes, strict=True)]
        )

    def step(self, rows: Sequence[int], tokens: Tensor) -> Tensor:
        """Logits [n, V] after one more token for each of n rows (ascending), tokens [n].

        Other rows cost next to nothing, but hold their memory until `keep` is called.
        """
        return self._rows.grow(rows, tokens)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows (ascending) only."""
        self._rows.keep(rows)

    def _prefixes(self, node: Node | None) -> list[Prefix]:
        """Keys and values of the nodes on a path, root first, computed where not yet held."""
        path: list[Prefix] = []
        for step in node.path() if node else ():
            prefix = self.kept.find(step)
            if prefix is None:
                run = PackedRows(self.model, [path], step.end - step.start)
                run.prefill([step.tokens[step.start :]])
                prefix = run.own.to_prefix(step)
                self.kept.keep(prefix)
            path.append(prefix)
        return path
