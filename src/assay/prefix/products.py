"""The matrix products of attention over some of the keys, for answering and for training alike.

Letters in shape comments: B products at once, M queries, P keys, D head size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 1 << 19
"""Most scores at once: they and what is made of them stay in a core's cache."""
ROWS = 160
"""Tokens of a long row that attend to it at once; fewer waste less above the diagonal."""
FEW = 16
"""Below so many queries the keys stand first in the product: a transposed part of a larger buffer
would be copied whole (measured: ten times the time of the product)."""


class Scratch:
    """Buffers that keep their memory from one use to the next, their content undefined.

    Fresh memory costs more than the product that fills it: the system hands it out page by page.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype) -> Tensor:
        """A buffer [shape] on the device of `like`; another `name` is another buffer."""
        count = math.prod(shape)
        key = name, dtype, like.device
        held = self._held.get(key)
        if held is None or held.numel() < count:
            held = self._held[key] = torch.empty(count, dtype=dtype, device=like.device)
        return held[:count].view(shape)


class PartialSoftmax(NamedTuple):
    """A softmax over some of the keys, not yet divided by its sum.

    `out` [..., M, D] = Σ exp(score − top)·value, `top` and `total` [..., M] the maximum and sum.
    """

    out: Tensor
    top: Tensor
    total: Tensor


def attend(
    scratch: Scratch,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    softcap: float | None,
    hidden: Tensor | None,
) -> PartialSoftmax:
    """Attention of `query` [B, M, D] (scaled already) over `key`, `value` [B, P, D].

    Args:
        softcap: Gemma 2's cap on scores, c·tanh(score / c).
        hidden: bool, keys that are not seen, broadcastable to [B, M, P], or to [R, B / R, M, P]
            where the products are of R rows. None: all are seen.

    Returns:
        `out` in the type of the values, the rest in float32.
    """
    weights = scores(scratch, query, key, softcap=softcap, hidden=hidden)
    top = weights.amax(-1, keepdim=True)
    if hidden is not None:  # a query that sees nothing here must come out as 0, not as NaN
        top.clamp_(min=torch.finfo(torch.float32).min)
    weights.sub_(top).exp_()
    total = weights.sum(-1)
    return PartialSoftmax(
        torch.bmm(cast(scratch, weights, value.dtype), value), top.squeeze(-1), total
    )


def scores(
    scratch: Scratch,
    query: Tensor,
    key: Tensor,
    *,
    softcap: float | None,
    hidden: Tensor | None,
) -> Tensor:
    """[B, M, P] in float32, −inf where hidden; see `attend`. A buffer of `scratch`."""
    shape = (len(query), query.shape[1], key.shape[1])
    if query.shape[1] < FEW:
        product = torch.bmm(key, query.transpose(1, 2)).transpose(1, 2)
    else:
        product = scratch.take("product", shape, query, query.dtype)
        torch.bmm(query, key.transpose(1, 2), out=product)
    found = scratch.take("scores", shape, query, torch.float32).copy_(product)
    if softcap is not None:
        found.div_(softcap).tanh_().mul_(softcap)
    if hidden is not None:
        rows = found if hidden.dim() < 4 else found.view(len(hidden), -1, *shape[1:])
        rows.masked_fill_(hidden, -torch.inf)
    return found


def cast(scratch: Scratch, values: Tensor, dtype: torch.dtype) -> Tensor:
    """`values` in another type, in a buffer of `scratch`."""
    if values.dtype == dtype:
        return values
    return scratch.take("typed", tuple(values.shape), values, dtype).copy_(values)


def merge_(whole: PartialSoftmax, part: PartialSoftmax) -> None:
    """Add the keys of `part` to `whole` (float32), in place."""
    top = torch.maximum(whole.top, part.top)
    old, new = (whole.top - top).exp_(), (part.top - top).exp_()
    whole.out.mul_(old.unsqueeze(-1)).addcmul_(part.out.float(), new.unsqueeze(-1))
    whole.total.mul_(old).addcmul_(part.total, new)
    whole.top.copy_(top)
