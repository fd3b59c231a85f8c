"""Attention over a pack with its gradient: a few matrix products instead of a masked square.

Each token attends to the nodes on its path and to the earlier tokens of its own segment. The
parts are softmaxed on their own and merged through their maxima and sums, which is exact (Milakov
& Gimelshein 2018, arXiv:1805.02867); the backward pass computes the weights again from the merged
log-sum-exp instead of keeping them (Dao 2022, arXiv:2205.14135). Nothing of size N × N exists, in
time or in memory.

On CUDA the same tree is a block mask for torch's `flex_attention`.

Letters in shape comments: N tokens, H query heads, K key heads, G = H / K, D head size; queries
are kept as [K, N·G, D], so that a run of tokens is a run of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from assay.prefix.products import BLOCK, ROWS, Part, Scratch, attend, merge_, scores, typed

if TYPE_CHECKING:
    from assay.prefix.pack import Below, Pack

NAME = "assay_pack"


@dataclass(frozen=True, slots=True)
class _Block:
    """One product: queries [B, M, D] over keys [B, P, D].

    Attributes:
        query, key: slices, or indices, into the second axis of [K, N·G, D] and [K, N, D]. Indices
            are [R, M] and [R, P], and B = K·R.
        real: bool [R·M], which of the queries are no repetition; None: all.
        hidden: bool, broadcastable to [B, M, P], keys that a query must not see; None: sees all.
    """

    query: slice | Tensor
    key: slice | Tensor
    real: Tensor | None
    hidden: Tensor | None


def pack_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    pack: Pack,
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls in each layer of a packed training pass.

    Args:
        query: [1, H, N, D]; key, value: [1, K, N, D], rotated already.
        pack: how the N tokens belong together.

    Returns:
        [1, N, H, D] in the query's type, and no weights.
    """
    if query.is_cuda:
        from assay.prefix.flex import flex_pack_attention

        return flex_pack_attention(query, key, value, pack, scaling, sliding_window, softcap), None
    # Autocast leaves rotated queries in float32 beside bfloat16 values.
    dtype = value.dtype
    out = _PackAttention.apply(  # type: ignore[no-untyped-call]
        query[0].to(dtype), key[0].to(dtype), value[0], pack, scaling, sliding_window, softcap
    )
    return out.unsqueeze(0), None


class _PackAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        pack: Pack,
        scaling: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        heads, tokens, size = query.shape
        groups = heads // len(key)
        rows = _rows(query, groups) * scaling
        key, value = key.contiguous(), value.contiguous()
        out = rows.new_zeros(rows.shape, dtype=torch.float32)
        top = out.new_full(out.shape[:2], -torch.inf)
        total = out.new_zeros(out.shape[:2])
        whole = Part(out, top, total)
        for block in _blocks(pack, groups, len(key), window):
            queries, keys, values = _taken(block, rows, key, value)
            part = attend(pack.scratch, queries, keys, values, softcap=softcap, hidden=block.hidden)
            _put_(whole, part, block)
        out.div_(total.unsqueeze(-1))
        lse = top.add_(total.log_())
        merged = out.to(query.dtype).view(len(key), tokens, groups, size)
        result = merged.transpose(0, 1).reshape(tokens, heads, size)
        # What is returned is kept, not another copy in the order of the rows: the next map keeps it
        # too.
        ctx.save_for_backward(rows, key, value, result, lse)
        ctx.settings = (pack, scaling, window, softcap)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, key, value, out, lse = ctx.saved_tensors
        pack, scaling, window, softcap = ctx.settings
        tokens, heads, size = grad.shape
        groups = heads // len(key)
        delta = (grad.float() * out).sum(-1)  # [N, H]
        delta = _rows(delta.T.unsqueeze(-1), groups).squeeze(-1)
        grad = _rows(grad.transpose(0, 1).to(value.dtype), groups)
        d_query = torch.zeros_like(rows, dtype=torch.float32)
        d_key = torch.zeros_like(key, dtype=torch.float32)
        d_value = torch.zeros_like(d_key)
        for block in _blocks(pack, groups, len(key), window):
            queries, keys, values = _taken(block, rows, key, value)
            seen_grad, seen_lse, seen_delta = (_take(block.query, t) for t in (grad, lse, delta))
            if block.real is not None:  # what a repetition hands back must not count twice
                real = block.real.view(1, -1, seen_delta.shape[1]).expand(len(key), -1, -1)
                real = real.reshape(seen_delta.shape)
                seen_grad = seen_grad * real.unsqueeze(-1)
                seen_delta = seen_delta * real
            parts = _attend_backward(
                pack.scratch,
                (queries, keys, values),
                (seen_grad, seen_lse, seen_delta),
                softcap=softcap,
                hidden=block.hidden,
            )
            _add_(d_query, parts[0], block.query)
            _add_(d_key, parts[1], block.key)
            _add_(d_value, parts[2], block.key)
        d_query = d_query.mul_(scaling).view(len(key), tokens, groups, size)
        d_query = d_query.transpose(1, 2).reshape(heads, tokens, size)
        return d_query.to(value.dtype), d_key.to(key.dtype), d_value.to(value.dtype), *[None] * 4


def _rows(query: Tensor, groups: int) -> Tensor:
    """[H, N, D] → [K, N·G, D], contiguous."""
    heads, tokens, size = query.shape
    split = query.reshape(heads // groups, groups, tokens, size)
    return split.transpose(1, 2).reshape(heads // groups, tokens * groups, size)


def _blocks(pack: Pack, groups: int, heads: int, window: int | None) -> list[_Block]:
    """The products of one layer; between them every token sees exactly what it may."""

    def make() -> list[_Block]:
        blocks: list[_Block] = []
        for alike in pack.alike:
            blocks += _own_blocks(alike.index, alike.real, groups, heads, window)
        for below in pack.below:
            blocks += _below_blocks(pack.position, below, groups, heads, window)
        return blocks

    return pack.once((groups, heads, window), make)


def _below_blocks(
    position: Tensor, below: Below, groups: int, heads: int, window: int | None
) -> Iterator[_Block]:
    """Every token below a node over the node's tokens."""
    step = max(64, BLOCK // (heads * groups * (below.end - below.start)))
    for low in range(below.end, below.last, step):
        high = min(low + step, below.last)
        hidden = None
        if window is not None:
            far = position[low:high, None] - position[below.start : below.end] >= window
            if bool(far.all()):
                continue
            if bool(far.any()):
                hidden = far.repeat_interleave(groups, dim=0)
        query, key = slice(low * groups, high * groups), slice(below.start, below.end)
        yield _Block(query, key, None, hidden)


def _own_blocks(
    index: Tensor, real: Tensor | None, groups: int, heads: int, window: int | None
) -> Iterator[_Block]:
    """Every token of some segments [R, W] over the earlier ones of its segment and itself."""
    count, width = index.shape
    member = torch.arange(groups, device=index.device)
    for low in range(0, width, ROWS):
        high = min(low + ROWS, width)
        first = 0 if window is None else max(0, low - window + 1)
        row = torch.arange(low, high, device=index.device).repeat_interleave(groups)
        distance = row[:, None] - torch.arange(first, high, device=index.device)
        hidden = distance < 0
        if window is not None:
            hidden |= distance >= window
        step = max(1, BLOCK // (heads * hidden.numel()))
        for begin in range(0, count, step):
            some = slice(begin, begin + step)
            query = (index[some, low:high, None] * groups + member).flatten(1)
            kept = None
            if real is not None:
                kept = real[some, low:high].repeat_interleave(groups, dim=1).flatten()
            yield _Block(query, index[some, first:high], kept, hidden)


def _take(where: slice | Tensor, whole: Tensor) -> Tensor:
    """Of [K, n, ...], the rows of a block: [B, M, ...]."""
    if isinstance(where, slice):
        return whole[:, where]
    taken = whole[:, where]  # [K, R, M, ...]
    return taken.flatten(0, 1)


def _taken(
    block: _Block, rows: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _take(block.query, rows), _take(block.key, key), _take(block.key, value)


def _attend_backward(
    scratch: Scratch,
    taken: tuple[Tensor, Tensor, Tensor],
    of_rows: tuple[Tensor, Tensor, Tensor],
    *,
    softcap: float | None,
    hidden: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a block's queries, keys and values.

    Args:
        taken: the block's queries, keys and values.
        of_rows: of each query, the gradient of its output, its log-sum-exp over all it sees, and
            the product of gradient and output.
    """
    query, key, value = taken
    grad, lse, delta = of_rows
    weights = scores(scratch, query, key, softcap=softcap, hidden=hidden)
    slope = None if softcap is None else 1 - (weights / softcap).square_()
    weights.sub_(lse.unsqueeze(-1)).exp_()
    d_value = torch.bmm(typed(scratch, weights, value.dtype).transpose(1, 2), grad)
    shape = tuple(weights.shape)
    d_weights = scratch.take("product", shape, value, value.dtype)
    torch.bmm(grad, value.transpose(1, 2), out=d_weights)
    if d_weights.dtype == torch.float32:
        d_scores = d_weights.sub_(delta.unsqueeze(-1)).mul_(weights)
    else:
        wide = scratch.take("wide", shape, value, torch.float32)
        d_scores = wide.copy_(d_weights).sub_(delta.unsqueeze(-1)).mul_(weights)
    if slope is not None:
        d_scores.mul_(slope if hidden is None else slope.masked_fill_(hidden, 0.0))
    d_typed = typed(scratch, d_scores, value.dtype)
    return torch.bmm(d_typed, key), torch.bmm(d_typed.transpose(1, 2), query), d_value


def _put_(whole: Part, part: Part, block: _Block) -> None:
    """Add a block's part to the rows it belongs to."""
    if isinstance(block.query, slice):
        merge_(Part(*(t[:, block.query] for t in whole)), part)
        return
    heads = len(whole.out)
    where = block.query.flatten()
    for target, values in zip(whole, part, strict=True):  # the first part of every row
        flat = values.reshape(heads, -1, *values.shape[2:]).float()
        if block.real is None:
            target[:, where] = flat
        else:
            target[:, where[block.real]] = flat[:, block.real]


def _add_(whole: Tensor, part: Tensor, where: slice | Tensor) -> None:
    """Add gradients [B, M, D] to the rows [K, n, D] they belong to."""
    if isinstance(where, slice):
        whole[:, where] += part
        return
    flat = part.reshape(len(whole), -1, part.shape[2]).float()
    whole.index_add_(1, where.flatten(), flat)


AttentionInterface.register(NAME, pack_attention)
