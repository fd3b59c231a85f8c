"""Attention over a pack with its gradient: a few matrix products instead of a masked square.

Each token attends to the nodes on its path and to the earlier tokens of its own segment. The
parts are softmaxed on their own and merged through the logarithms of their sums, which is exact
(Milakov & Gimelshein 2018, arXiv:1805.02867); the backward pass computes the weights again from the
merged log-sum-exp instead of keeping them (Dao 2022, arXiv:2205.14135). Nothing of size N × N
exists, in time or in memory.

A part is computed by torch's fused kernel for CPUs, forward and backward, always in float32: given
the merged output and log-sum-exp, its gradients are those of the part within the whole. What the
kernel does not know (capped scores, the edge of a sliding window) is matrix products, and so are
large parts of the backward pass in bfloat16. On CUDA the same tree is a block mask for torch's
`flex_attention`.

Letters in shape comments: N tokens, H query heads, K key heads, G = H / K, D head size, M queries
and P keys of a part. Over a trunk (`assay.prefix.trunk`) keys come before those of the N tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from assay.prefix.blocks import Block, blocks_of
from assay.prefix.products import Scratch, attend, cast, scores

if TYPE_CHECKING:
    from assay.prefix.pack import Pack
    from assay.prefix.trunk import Trunk

NAME = "assay_pack"

FUSED_PAIRS = 20_000
"""In bfloat16, most pairs of a query and a key in a part of the backward pass that the kernel
computes: products are slower for smaller parts, and faster for larger ones (docs/training.md)."""

_fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_fused_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


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
        pairs = of.fused_pairs(query)
        given = query_kgnd, key, value
        wide = tuple(t.float() for t in given) if pairs else given
        for block in blocks_of(pack, heads, window, fused=pairs):
            part, lse = of.attend(block, *(wide if block.fused else given))
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
        pairs = of.fused_pairs(query)
        if query.dtype != torch.float32:
            pairs = min(pairs, FUSED_PAIRS)
        given = query_kgnd, key, value, grad_kgnd, out_kgnd
        wide = tuple(t.float() for t in given) if pairs else given
        for block in blocks_of(pack, len(query), window, fused=pairs):
            *of_layer, of_grad, of_out = wide if block.fused else given
            of_queries = (t[:, :, block.query] for t in (of_grad, of_out, lse_kgn))
            parts = of.gradients(block, *of_layer, *of_queries)
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

    def fused_pairs(self, query: Tensor) -> float:
        """Most pairs in a part for torch's kernel: any, if it knows all that this layer does."""
        return math.inf if self.softcap is None and query.device.type == "cpu" else 0

    def attend(
        self, block: Block, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Output [K, G, M, D] of a part, and its log-sum-exp [K, G, M].

        Args:
            query: [K, G, N, D]; key, value: [K, N, D].
        """
        queries, keys, values = query[:, :, block.query], key[:, block.key], value[:, block.key]
        if block.fused:
            wide = (len(key), query.shape[1], -1, -1)  # no copy: a stride of 0
            keys, values = keys.unsqueeze(1).expand(wide), values.unsqueeze(1).expand(wide)
            causal = block.own and block.hidden is None
            out, lse = _fused(
                queries, keys, values, 0.0, causal, attn_mask=block.hidden, scale=self.scaling
            )
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
        block: Block,
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
            causal = block.own and block.hidden is None
            d_query, d_key, d_value = _fused_backward(
                grad,
                queries,
                keys,
                values,
                out,
                lse,
                0.0,
                causal,
                attn_mask=block.hidden,
                scale=self.scaling,
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
    def _hidden(block: Block, query: Tensor) -> Tensor | None:
        """[G·M, P], for the queries of all heads of a key."""
        return None if block.hidden is None else block.hidden.repeat(query.shape[1], 1)


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
    d_value = torch.bmm(cast(scratch, weights, value.dtype).transpose(1, 2), grad)
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
    d_typed = cast(scratch, d_scores, value.dtype)
    return torch.bmm(d_typed, key), torch.bmm(d_typed.transpose(1, 2), query), d_value


AttentionInterface.register(NAME, pack_attention)
