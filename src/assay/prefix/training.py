"""Attention over a pack with its gradient: a few matrix products instead of a masked square.

Each token attends to the nodes on its path and to the earlier tokens of its own segment. The
parts are softmaxed on their own and merged through the logarithms of their sums, which is exact
(Milakov & Gimelshein 2018, arXiv:1805.02867); the backward pass computes the weights again from the
merged log-sum-exp instead of keeping them (Dao 2022, arXiv:2205.14135). Nothing of size N × N
exists, in time or in memory.

A part is computed by torch's fused kernel for CPUs, in float32 forward and backward: given the
merged output and log-sum-exp, its gradients are those of the part within the whole. What the kernel
does not know (capped scores, the edge of a sliding window) is matrix products, and so is the
backward pass in bfloat16. On CUDA the same tree is a block mask for torch's `flex_attention`.

Letters in shape comments: N tokens, H query heads, K key heads, G = H / K, D head size, M queries
and P keys of a part. Over a trunk (`assay.prefix.trunk`) keys come before those of the N tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from assay.prefix.products import BLOCK, ROWS, Scratch, attend, scores, typed

if TYPE_CHECKING:
    from assay.prefix.pack import Pack
    from assay.prefix.trunk import Trunk

NAME = "assay_pack"

_fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_fused_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True, slots=True)
class _Block:
    """A part: the queries of some tokens over the keys of some tokens.

    Attributes:
        query, key: which tokens.
        own: the tokens see themselves and what is before them; the first part of each query.
        hidden: bool [M, P], keys that a query must not see; None: those of `own` alone.
        fused: for torch's kernel.
    """

    query: slice
    key: slice
    own: bool
    hidden: Tensor | None
    fused: bool


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
    keep: Trunk | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls in each layer of a packed training pass.

    Args:
        query: [1, H, N, D]; key, value: [1, K, N, D], rotated already.
        pack: how the N tokens belong together.
        keep: where keys and values are kept for other passes.

    Returns:
        [1, N, H, D] in the query's type, and no weights.
    """
    # Autocast leaves rotated queries and keys in float32 beside bfloat16 values.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if keep is not None:
        keep.keep(module.layer_idx, key, value)  # type: ignore[arg-type]
    if pack.trunk is not None:
        key, value = pack.trunk.before(module.layer_idx, key, value)  # type: ignore[arg-type]
    if query.is_cuda:
        from assay.prefix.flex import flex_pack_attention

        return flex_pack_attention(query, key, value, pack, scaling, sliding_window, softcap), None
    out = _PackAttention.apply(  # type: ignore[no-untyped-call]
        query[0], key[0], value[0], pack, scaling, sliding_window, softcap
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
        of = _Layer(pack.scratch, scaling, softcap)
        query_kgnd = query.view(len(key), -1, *query.shape[1:])
        out_nhd = query.new_empty((tokens, heads, size), dtype=torch.float32)
        out_kgnd = _by_heads(out_nhd, len(key))
        lse_kgn = query.new_empty((*query_kgnd.shape[:3],), dtype=torch.float32)
        for block in _blocks(pack, heads, window, fused=of.can_fuse(query)):
            part, lse = of.attend(block, query_kgnd, key, value)
            whole, whole_lse = out_kgnd[:, :, block.query], lse_kgn[:, :, block.query]
            if block.own:
                whole.copy_(part)
                whole_lse.copy_(lse)
            else:
                both = torch.logaddexp(whole_lse, lse)
                whole.mul_((whole_lse - both).exp_().unsqueeze(-1))
                whole.addcmul_(part.float(), (lse - both).exp_().unsqueeze(-1))
                whole_lse.copy_(both)
        result = out_nhd.to(query.dtype)
        # What is returned is kept: the next map keeps it too.
        ctx.save_for_backward(query, key, value, result, lse_kgn)
        ctx.settings = (pack, window, of)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, lse_kgn = ctx.saved_tensors
        pack, window, of = ctx.settings
        query_kgnd = query.view(len(key), -1, *query.shape[1:])
        grad_kgnd = _by_heads(grad.to(value.dtype), len(key))
        out_kgnd = _by_heads(out, len(key))
        d_nhd = torch.empty_like(grad, dtype=torch.float32)
        d_query = _by_heads(d_nhd, len(key))
        d_key = torch.zeros_like(key, dtype=torch.float32)
        d_value = torch.zeros_like(value, dtype=torch.float32)
        # In bfloat16 the kernel's own backward is slower than the products (docs/training.md).
        fused = of.can_fuse(query) and query.dtype == torch.float32
        for block in _blocks(pack, len(query), window, fused=fused):
            of_queries = (t[:, :, block.query] for t in (grad_kgnd, out_kgnd, lse_kgn))
            parts = of.gradients(block, query_kgnd, key, value, *of_queries)
            if block.own:
                d_query[:, :, block.query] = parts[0]
            else:
                d_query[:, :, block.query] += parts[0]
            d_key[:, block.key] += parts[1]
            d_value[:, block.key] += parts[2]
        return (
            d_nhd.transpose(0, 1).to(query.dtype),
            d_key.to(key.dtype),
            d_value.to(value.dtype),
            *[None] * 4,
        )


def _by_heads(t_nhd: Tensor, key_heads: int) -> Tensor:
    """[N, H, D] as [K, G, N, D]."""
    tokens, heads, size = t_nhd.shape
    return t_nhd.view(tokens, key_heads, heads // key_heads, size).permute(1, 2, 0, 3)


@dataclass(frozen=True, slots=True)
class _Layer:
    """How the parts of a layer are computed."""

    scratch: Scratch
    scaling: float
    softcap: float | None

    def can_fuse(self, query: Tensor) -> bool:
        """Whether torch's kernel knows all that this layer does."""
        return self.softcap is None and query.device.type == "cpu"

    def attend(
        self, block: _Block, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Output [K, G, M, D] of a part, and its log-sum-exp [K, G, M].

        Args:
            query: [K, G, N, D]; key, value: [K, N, D].
        """
        queries, keys, values = query[:, :, block.query], key[:, block.key], value[:, block.key]
        if block.fused:
            wide = (len(key), query.shape[1], -1, -1)  # no copy: a stride of 0
            keys, values = keys.unsqueeze(1).expand(wide), values.unsqueeze(1).expand(wide)
            out, lse = _fused(queries, keys, values, 0.0, block.own, scale=self.scaling)
            return out, lse
        part = attend(
            self.scratch,
            (queries * self.scaling).flatten(1, 2),
            keys,
            values,
            softcap=self.softcap,
            hidden=self._hidden(block, query),
        )
        # A query that sees none of these keys: 0 / 0 would be NaN, and its weight is e^−∞.
        least = torch.finfo(torch.float32).tiny
        out = part.out / part.total.clamp_min(least).unsqueeze(-1)
        lse = part.top + part.total.log()
        return out.view(queries.shape), lse.view(queries.shape[:3])

    def gradients(
        self,
        block: _Block,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        grad: Tensor,
        out: Tensor,
        lse: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What a part adds to the gradients of its queries [K, G, M, D], keys and values [K, P, D].

        Args:
            grad, out: [K, G, M, D], of the whole output, and `lse` [K, G, M] over all keys.
        """
        queries, keys, values = query[:, :, block.query], key[:, block.key], value[:, block.key]
        if block.fused:
            wide = (len(key), query.shape[1], -1, -1)
            keys, values = keys.unsqueeze(1).expand(wide), values.unsqueeze(1).expand(wide)
            d_query, d_key, d_value = _fused_backward(
                grad, queries, keys, values, out, lse, 0.0, block.own, scale=self.scaling
            )
            return d_query, d_key.sum(1), d_value.sum(1)
        d_query, d_key, d_value = _gradients_by_products(
            self.scratch,
            ((queries * self.scaling).flatten(1, 2), keys, values),
            (
                grad.flatten(1, 2),
                lse.flatten(1, 2),
                (grad.float() * out).sum(-1).flatten(1, 2),
            ),
            softcap=self.softcap,
            hidden=self._hidden(block, query),
        )
        return d_query.view(queries.shape) * self.scaling, d_key, d_value

    @staticmethod
    def _hidden(block: _Block, query: Tensor) -> Tensor | None:
        """[G·M, P], for the queries of all heads of a key."""
        return None if block.hidden is None else block.hidden.repeat(query.shape[1], 1)


def _blocks(pack: Pack, heads: int, window: int | None, *, fused: bool) -> list[_Block]:
    """The parts of a layer; between them every token sees exactly what it may, itself first."""

    def make() -> list[_Block]:
        blocks: list[_Block] = []
        for start, end in pack.segments:
            blocks += _own_blocks(pack, start, end, window, fused=fused)
        for below in pack.below:
            key = slice(below.start + pack.start, below.end + pack.start)
            first = int(pack.position[below.start])
            queries = below.end, below.last
            blocks += _earlier_blocks(pack, queries, key, first, heads, window, fused=fused)
        if pack.start:
            queries = 0, len(pack.ids)
            trunk = slice(0, pack.start)
            blocks += _earlier_blocks(pack, queries, trunk, 0, heads, window, fused=fused)
        return blocks

    return pack.once((heads, window, fused), make)


def _own_blocks(
    pack: Pack, start: int, end: int, window: int | None, *, fused: bool
) -> Iterator[_Block]:
    """The tokens of a segment over the earlier ones of it and themselves."""
    if fused and (window is None or end - start <= window):
        key = slice(start + pack.start, end + pack.start)
        yield _Block(slice(start, end), key, own=True, hidden=None, fused=True)
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
        yield _Block(slice(low, high), key, own=True, hidden=hidden, fused=False)


def _earlier_blocks(
    pack: Pack,
    queries: tuple[int, int],
    key: slice,
    first: int,
    heads: int,
    window: int | None,
    *,
    fused: bool,
) -> Iterator[_Block]:
    """Tokens over a run of keys on the path of all of them; `first` is its first position."""
    start, end = queries
    count = key.stop - key.start
    reach = int(pack.position[start:end].max()) - first
    if fused and (window is None or reach < window):
        yield _Block(slice(start, end), key, own=False, hidden=None, fused=True)
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
        plain = fused and hidden is None
        yield _Block(slice(low, high), key, own=False, hidden=hidden, fused=plain)


def _gradients_by_products(
    scratch: Scratch,
    taken: tuple[Tensor, Tensor, Tensor],
    of_rows: tuple[Tensor, Tensor, Tensor],
    *,
    softcap: float | None,
    hidden: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a part's queries, keys and values.

    Args:
        taken: queries [K, G·M, D] (scaled), keys and values [K, P, D].
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


AttentionInterface.register(NAME, pack_attention)
