"""Attention over a tree: shared prefixes as plain matrix multiplies, merged with a row's own keys.

A forward pass is *packed*: one batch row of N tokens, whatever sequences they belong to. Tokens
of one sequence attend to the nodes on their path (keys kept once, no copy per sequence) and to
their own earlier tokens. The parts are softmaxed on their own and merged through their maxima and
sums, which is exact (Milakov & Gimelshein 2018, arXiv:1805.02867; Dao 2022, arXiv:2205.14135).

Letters in shape comments: N tokens of the pass, H query heads, K key heads, G = H / K, D head
size, P tokens of a prefix, R rows of the pass, T most tokens of a row in it, S slots of a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface

from assay.prefix.products import BLOCK, ROWS, PartialSoftmax, attend, merge_

if TYPE_CHECKING:
    from torch import Tensor

    from assay.prefix.cache import ForwardPass

NAME = "assay_tree"


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    tree: ForwardPass,
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
        if not span.is_in_reach(sliding_window):
            continue
        prefix_key, prefix_value = span.prefix.layers[layer]
        heads, tokens = len(prefix_key), span.high - span.low
        grouped = queries[:, span.low : span.high].reshape(heads, -1, queries.shape[-1])
        hidden = span.hidden(sliding_window)
        if hidden is not None:
            hidden = hidden.repeat(grouped.shape[1] // tokens, 1)
        step = max(1, BLOCK // (heads * prefix_key.shape[1]))
        pieces = [
            attend(
                tree.scratch,
                grouped[:, low : low + step],
                prefix_key,
                prefix_value,
                softcap=softcap,
                hidden=None if hidden is None else hidden[low : low + step],
            )
            for low in range(0, grouped.shape[1], step)
        ]
        part = PartialSoftmax(*(torch.cat(same, dim=1) for same in zip(*pieces, strict=True)))
        shape = (queries.shape[0], tokens)
        merge_(
            PartialSoftmax(*(t[:, span.low : span.high] for t in whole)),
            PartialSoftmax(part.out.view(*shape, -1), part.top.view(shape), part.total.view(shape)),
        )
    out = whole.out / whole.total.unsqueeze(-1)
    return out.to(query.dtype).transpose(0, 1).unsqueeze(0), None


def _own(
    tree: ForwardPass, layer: int, queries: Tensor, window: int | None, softcap: float | None
) -> PartialSoftmax:
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
    part = PartialSoftmax(
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
                tree.scratch,
                queries.reshape(len(queries) * key_heads, -1, size),
                key[of, :, :slots].flatten(0, 1),
                value[of, :, :slots].flatten(0, 1),
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

    return PartialSoftmax(*(unpacked(t) for t in part))


AttentionInterface.register(NAME, tree_attention)
