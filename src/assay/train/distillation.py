"""Cross-entropy against a teacher's distribution, without ever holding all logits.

With p the teacher's probabilities of its k likeliest tokens at a place, r = 1 − Σp what is left for
all others, and q the student's:

    loss = − Σ p_i log q_i − r log(1 − Σ q_i)

This is the forward KL divergence from teacher to student, up to the teacher's own entropy, after
all tokens but the k have been made one (Hinton et al. 2015, Distilling the Knowledge in a Neural
Network, arXiv:1503.02531, at temperature 1; word-level distillation in Kim & Rush 2016,
arXiv:1606.07947). It is smallest where q_i = p_i. Renormalising the k probabilities instead would
move that place: the student would be made surer than its teacher.

A place with one token of probability 1 gives the ordinary cross-entropy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assay.models.device import to_device
from assay.train.loss import Head, chunk_on
from assay.train.sequences import TrainingSequence

_NOTHING = 1e-6
"""A rest this small is rounding."""


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """Targets of n positions: ids [n, k], probs [n, k], and rest [n] for all other tokens.

    `leaves_rest` [n] says where rest is above 0: numpy, so that asking does not wait for a device.
    """

    ids: Tensor
    probs: Tensor
    rest: Tensor
    leaves_rest: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def of(cls, rows: Sequence[TrainingSequence], device: torch.device) -> SoftTargets:
        """The targets of some rows' trained tokens, in order; untaught ones are certain."""
        width = max(1 if row.taught is None else row.taught.ids.shape[1] for row in rows)
        targets = np.array([token for row in rows for token in row.targets], dtype=np.int64)
        ids = np.repeat(targets[:, None], width, axis=1)
        probs = np.zeros((len(targets), width), dtype=np.float32)
        start = 0
        for row in rows:
            end = start + row.trained_tokens
            if row.taught is None:
                probs[start:end, 0] = 1.0
            else:
                own = row.taught.ids.shape[1]
                ids[start:end, :own], probs[start:end, :own] = row.taught.ids, row.taught.probs
            start = end
        rest = 1.0 - probs.sum(axis=1, dtype=np.float64)
        rest[rest < _NOTHING] = 0.0
        return cls(
            to_device(torch.from_numpy(ids), device),
            to_device(torch.from_numpy(probs), device),
            to_device(torch.from_numpy(rest.astype(np.float32)), device),
            rest > 0,
        )

    def chunks(self, *tensors: Tensor) -> Iterator[tuple[SoftTargets, tuple[Tensor, ...]]]:
        """Slices of positions, of the targets and of tensors [n, ...] alike."""
        size = chunk_on(self.ids.device)
        for start in range(0, len(self.ids), size):
            some = slice(start, start + size)
            part = SoftTargets(
                self.ids[some], self.probs[some], self.rest[some], self.leaves_rest[some]
            )
            yield part, tuple(tensor[some] for tensor in tensors)


def soft_losses(head: Head, hidden_nd: Tensor, soft: SoftTargets) -> Tensor:
    """The loss (nats) at each position, [n] float32, without a graph."""
    with torch.no_grad():
        parts = soft.chunks(hidden_nd)
        return torch.cat([_losses(head(hidden).float(), part) for part, (hidden,) in parts])


def backward_soft(head: Head, hidden_nd: Tensor, soft: SoftTargets, weights_n: Tensor) -> Tensor:
    """Weighted sum of the losses (nats), float64 scalar; its gradient is added.

    Args:
        weights_n: factor of each position, float32.
    """
    total = torch.zeros((), dtype=torch.float64, device=hidden_nd.device)
    leaf = hidden_nd.detach().requires_grad_()
    for targets, (hidden, weights) in soft.chunks(leaf, weights_n):
        part = (_losses(head(hidden).float(), targets) * weights).sum()
        part.backward()  # type: ignore[no-untyped-call]
        total += part.detach().double()
    hidden_nd.backward(leaf.grad)  # type: ignore[no-untyped-call]
    return total


def _losses(logits_nv: Tensor, soft: SoftTargets) -> Tensor:
    norm = logits_nv.logsumexp(dim=1)
    losses = -(soft.probs * (logits_nv.gather(1, soft.ids) - norm[:, None])).sum(dim=1)
    if soft.leaves_rest.any():
        others = logits_nv.scatter(1, soft.ids, -torch.inf).logsumexp(dim=1)
        losses = losses - soft.rest * (others - norm)
    return losses
