"""Packed forward passes: further tokens of many rows in one batch row, prefixes kept once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

import torch

from assay.models.device import index_tensors
from assay.prefix.cache import ForwardPass, Prefix, Rows, Span

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

CHUNK = 1024
"""Prompt tokens in one forward pass: enough to fill the matrix units, little enough to hold."""


class PackedRows:
    """Rows that grow token by token, each after the prefixes on its path.

    Args:
        model: its attention must be `assay.prefix.attention.NAME`.
        paths: the prefixes that each row starts with, root first.
        slots: tokens of its own that a row may come to hold.
    """

    def __init__(
        self, model: PreTrainedModel, paths: Sequence[Sequence[Prefix]], slots: int
    ) -> None:
        self.model = model
        self._paths = [tuple(path) for path in paths]
        self._starts = [path[-1].node.end if path else 0 for path in paths]
        self._lengths = [0] * len(paths)
        layers = model.config.get_text_config().num_hidden_layers
        self.own = Rows(len(paths), slots, layers)

    def prefill(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Logits [B, V] after the last of each row's first tokens, `CHUNK` tokens at a time."""
        logits: list[Tensor] = []
        low = 0
        while low < len(tokens):
            totals = accumulate(len(row) for row in tokens[low:])
            fit = sum(1 for total in totals if total <= CHUNK)
            if fit:
                logits.append(self.extend(tokens[low : low + fit], low, range(fit)))
                low += fit
                continue
            row = tokens[low]
            for start in range(0, len(row), CHUNK):
                last = start + CHUNK >= len(row)
                piece = row[start : start + CHUNK]
                logits.append(self.extend([piece], low, [0] if last else []))
            low += 1
        return torch.cat(logits)

    def extend(self, tokens: Sequence[Sequence[int]], low: int, wanted: Sequence[int]) -> Tensor:
        """One forward pass of further tokens for the rows from `low` on.

        Returns:
            Logits [len(wanted), V] in float32 after the last token of each wanted row, counted
            from `low`.
        """
        (ids,) = index_tensors(self.model.device, [token for row in tokens for token in row])
        return self._forward(ids, [len(row) for row in tokens], low, wanted)

    def grow(self, rows: Sequence[int], tokens: Tensor) -> Tensor:
        """One forward pass of a further token for each of n rows (ascending), tokens [n] on the
        device; logits [n, V] in float32 after it."""
        growing = set(rows)
        counts = [int(row in growing) for row in range(len(self._lengths))]
        return self._forward(tokens, counts, 0, rows)

    def _forward(
        self, ids: Tensor, counts: Sequence[int], low: int, wanted: Sequence[int]
    ) -> Tensor:
        high = low + len(counts)
        before, starts = self._lengths[low:high], self._starts[low:high]
        ends = [0, *accumulate(counts)]
        # Told to the device once and never read back, for that would wait for what it computes.
        rows = [r for r, n in enumerate(counts) for _ in range(n)]
        columns = [c for n in counts for c in range(n)]
        slots = [before[r] + c for r, c in zip(rows, columns, strict=True)]
        positions = [starts[r] + s for r, s in zip(rows, slots, strict=True)]
        position, row, slot, column, last = index_tensors(
            self.model.device,
            positions,
            rows,
            slots,
            columns,
            [ends[r + 1] - 1 for r in wanted],
        )
        tree = ForwardPass(
            rows=self.own,
            low=low,
            high=high,
            row=row,
            slot=slot,
            column=column,
            before=before,
            counts=counts,
            spans=self._spans(low, ends, positions, position),
        )
        self._lengths[low:high] = [b + c for b, c in zip(before, counts, strict=True)]
        out = self.model(
            input_ids=ids[None],
            position_ids=position[None],
            use_cache=False,
            logits_to_keep=last,
            tree=tree,
        )
        logits: Tensor = out.logits[0].float()
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows (ascending) only."""
        self.own.keep(*index_tensors(self.model.device, rows))
        self._paths = [self._paths[r] for r in rows]
        self._starts = [self._starts[r] for r in rows]
        self._lengths = [self._lengths[r] for r in rows]

    def _spans(
        self, low: int, ends: Sequence[int], positions: Sequence[int], position: Tensor
    ) -> list[Span]:
        """Runs of neighbouring rows that see the same prefix, as runs of tokens."""
        paths = self._paths[low : low + len(ends) - 1]
        spans = []
        for depth in range(max(map(len, paths))):
            at_depth = [path[depth] if depth < len(path) else None for path in paths]
            first = 0
            for prefix, run in groupby(at_depth):
                last = first + len(list(run))
                start, end = ends[first], ends[last]
                first = last
                if prefix is not None and start < end:
                    inside = positions[start:end]
                    nearest, farthest = min(inside), max(inside)
                    spans.append(Span(start, end, prefix, position[start:end], nearest, farthest))
        return spans
