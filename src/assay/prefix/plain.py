"""The same logits without sharing: for every model that transformers can generate with.

Prompts of one length are run together, so that nothing is padded and no mask has to be right:
this holds for absolute positions, ALiBi and recurrent layers alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from assay.models.device import index_tensors, to_device
from assay.prefix.batch import MOST_ROWS, Batch

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class PlainDecoder:
    """Has the methods of `SharedDecoder`; every prompt is run whole."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    @contextmanager
    def running(self) -> Iterator[None]:
        """Everything below must be called inside."""
        with torch.inference_mode():
            yield

    def batches(
        self, prompts: Sequence[tuple[int, ...]], room: Sequence[int], slots: int
    ) -> list[Batch]:
        """All prompts in batches of equal length; see `SharedDecoder.batches`."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for place, prompt in enumerate(prompts):
            by_length[len(prompt)].append(place)
        batches = []
        for length, places in sorted(by_length.items()):
            longest = length + max(room[i] for i in places)
            size = max(1, min(MOST_ROWS, slots // longest))
            for first in range(0, len(places), size):
                members = tuple(places[first : first + size])
                batches.append(
                    Batch(
                        members, tuple(prompts[i] for i in members), (None,) * len(members), longest
                    )
                )
        return batches

    def begin(self, batch: Batch) -> Tensor:
        """Logits [B, V] (float32) after each prompt of a batch."""
        self._given: dict[str, Any] = {}
        (self._last,) = index_tensors(self.model.device, [prompt[-1] for prompt in batch.prompts])
        return self._forward(to_device(torch.tensor(batch.prompts), self.model.device))

    def step(self, rows: Sequence[int], tokens: Tensor) -> Tensor:
        """Logits [n, V] after one more token for each of n rows (ascending), tokens [n]."""
        (going,) = index_tensors(self.model.device, rows)
        self._last[going] = tokens
        return self._forward(self._last[:, None])[going]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows (ascending) only."""
        (kept,) = index_tensors(self.model.device, rows)
        for cache in self._given.values():
            # Made for beam search, but every kind of layer has it (batch_select_indices: not all).
            cache.reorder_cache(kept)
        self._last = self._last[kept]

    def _forward(self, ids: Tensor) -> Tensor:
        out = self.model(input_ids=ids, use_cache=True, **self._given)
        name = "cache" if "cache" in out else "past_key_values"  # renamed in transformers 5.24
        self._given = {name: out[name]}
        logits: Tensor = out.logits[:, -1].float()
        return logits
