"""Attention over a tree: shared prefixes as plain matrix multiplies, merged with a row's own keys.

A forward pass is *packed*: one batch row of N tokens, whatever sequences they belong to. Tokens
of one sequence attend to the nodes on their path (keys kept once, no copy per sequence) and to
their own earlier tokens. The parts are softmaxed on their own and merged through their maxima and
sums, which is exact (Milakov & Gimelshein 2018, arXiv:1805.02867; Dao 2022, arXiv:2205.14135).

Letters in shape comments: N tokens of the pass, H query heads, K key heads, G = H / K, D head
size, P tokens of a prefix, R rows of the pass, T most tokens of a row in it, S slots of a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import AttentionInterface

if TYPE_CHECKING:
    from torch import Tensor

    from assay.prefix.cache import Pass

NAME = "assay_tree"
BLOCK = 1 << 19
"""Most scores held at once; small enough that they stay in a CPU's cache."""
ROWS = 160
"""Tokens of one row that attend to it at once; fewer waste less above the diagonal."""

FEW = 16
"""Below so many queries the keys stand first in the product: a transposed part of a larger buffer
would be copied whole (measured: ten times the time of the product)."""


class Part(NamedTuple):
    """A softmax over some of the keys, not yet divided by its sum.

    `out` [..., M, D] = Σ exp(score − top)·value, `top` and `total` [..., M] the maximum and sum.
    Float32 whatever the model's type.
    """

    out: Tensor
    top: Tensor
    total: Tensor


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, softcap: float | None, hidden: Tensor | None
) -> Part:
    """Attention of `query` [..., M, D] (scaled already) over `key`, `value` [..., P, D].

    Args:
        softcap: Gemma 2's cap on scores, c·tanh(score / c).
        hidden: bool, broadcastable to [..., M, P], keys that are not seen. None: all are.
    """
    if query.shape[-2] < FEW:
        scores = torch.matmul(key, query.transpose(-1, -2)).transpose(-1, -2).float()
    else:
        scores = torch.matmul(query, key.transpose(-1, -2)).float()
    if softcap is not None:
        scores.div_(softcap).tanh_().mul_(softcap)
    if hidden is not None:
        scores.masked_fill_(hidden, -torch.inf)
    top = scores.amax(-1, keepdim=True)
    if hidden is not None:  # a query that sees nothing here must come out as 0, not as NaN
        top.clamp_(min=torch.finfo(torch.float32).min)
    weights = scores.sub_(top).exp_()
    total = weights.sum(-1)
    out = torch.matmul(weights.to(value.dtype), value).float()
    return Part(out, top.squeeze(-1), total)


def merge_(whole: Part, part: Part) -> None:
    """Add the keys of `part` to `whole`, in place."""
    top = torch.maximum(whole.top, part.top)
    old, new = (whole.top - top).exp_(), (part.top - top).exp_()
    whole.out.mul_(old.unsqueeze(-1)).addcmul_(part.out, new.unsqueeze(-1))
    whole.total.mul_(old).addcmul_(part.total, new)
    whole.top.copy_(top)


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    tree: Pass,
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls in each layer of a packed pass.

    Args:
        query: [1, H, N, D]; key, value: [1, K, N, D], rotated already.
        tree: what the tokens of the pass belong to; stores the new keys and values.

    Returns:
        [1, N, H, D] in the model's type, and no weights.
    """
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    tree.store(layer, key[0], value[0])
    queries = query[0] * scaling
    whole = _own(tree, layer, queries, sliding_window, softcap)
    for span in tree.spans:
        if not span.in_reach(sliding_window):
            continue
        prefix_key, prefix_value = span.prefix.layers[layer]
        heads, tokens = len(prefix_key), span.high - span.low
        grouped = queries[:, span.low : span.high].reshape(heads, -1, queries.shape[-1])
        hidden = span.hidden(sliding_window)
        if hidden is not None:
            hidden = hidden.repeat(grouped.shape[1] // tokens, 1)
        step = max(1, BLOCK // (heads * prefix_key.shape[1]))
        part = Part(
            *(
                torch.cat(pieces, dim=1)
                for pieces in zip(
                    *(
                        attend(
                            grouped[:, low : low + step],
                            prefix_key,
                            prefix_value,
                            softcap=softcap,
                            hidden=None if hidden is None else hidden[low : low + step],
                        )
                        for low in range(0, grouped.shape[1], step)
                    ),
                    strict=True,
                )
            )
        )
        shape = (queries.shape[0], tokens)
        merge_(
            Part(*(t[:, span.low : span.high] for t in whole)),
            Part(part.out.view(*shape, -1), part.top.view(shape), part.total.view(shape)),
        )
    out = whole.out / whole.total.unsqueeze(-1)
    return out.to(query.dtype).transpose(0, 1).unsqueeze(0), None


def _own(
    tree: Pass, layer: int, queries: Tensor, window: int | None, softcap: float | None
) -> Part:
    """Attention [H, N, ...] of each token over the earlier tokens of its own row and itself."""
    key, value = tree.own(layer)  # [R, K, S, D]
    rows, key_heads = key.shape[:2]
    heads, tokens, size = queries.shape
    group, width = heads // key_heads, tree.width
    flat = queries.transpose(0, 1)  # [N, H, D]
    if tokens == rows * width:
        padded = flat.reshape(rows, width, heads, size)
    else:
        padded = flat.new_zeros(rows, width, heads, size)
        padded[tree.row, tree.column] = flat
    grouped = padded.view(rows, width, key_heads, group, size).permute(0, 2, 3, 1, 4)
    part = Part(
        padded.new_empty(rows, key_heads, group, width, size, dtype=torch.float32),
        *(padded.new_empty(2, rows, key_heads, group, width, dtype=torch.float32)),
    )
    seen = tree.seen(window)  # [R, T, S]
    for low in range(0, width, ROWS):
        some = slice(low, low + ROWS)
        slots = tree.last_slot(low, low + ROWS) + 1
        hidden = ~seen[:, None, None, some, :slots]
        step = max(1, BLOCK // (heads * hidden.shape[3] * slots))
        for first in range(0, rows, step):
            of = slice(first, first + step)
            queries = grouped[of, :, :, some]
            block = attend(
                queries.reshape(len(queries), key_heads, -1, size),
                key[of, :, :slots],
                value[of, :, :slots],
                softcap=softcap,
                hidden=hidden[of].expand(-1, 1, group, -1, -1).flatten(2, 3),
            )
            for whole, piece in zip(part, block, strict=True):
                target = whole[of, :, :, some]
                target.copy_(piece.view(target.shape))

    def unpacked(padded: Tensor) -> Tensor:
        """[R, K, G, T, ...] → [H, N, ...]"""
        whole = padded.view(rows, heads, width, *padded.shape[4:])
        return whole[tree.row, :, tree.column].transpose(0, 1).contiguous()

    return Part(*(unpacked(t) for t in part))


AttentionInterface.register(NAME, tree_attention)
