"""The tree as a block mask for torch's `flex_attention`: the way on CUDA.

Depth first order makes the tree an interval: token k is seen by q when k ≤ q < exit[k]. Blocks of
the mask that nobody sees are not computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

if TYPE_CHECKING:
    from assay.prefix.pack import Pack


def block_mask(pack: Pack, window: int | None) -> BlockMask:
    """Which tokens of a pack see which, for all heads alike; made once a pass."""
    tokens, start = len(pack.ids), pack.start
    position, leaving = pack.position, pack.exit  # not the pack, which keeps the mask: a cycle
    of_keys = torch.cat([torch.arange(start, device=pack.device), position])

    def seen(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        own = k - start
        visible = (own < 0) | ((own <= q) & (q < leaving[own.clamp(min=0)]))
        if window is not None:
            visible = visible & (position[q] - of_keys[k] < window)
        return visible

    def make() -> BlockMask:
        return create_block_mask(seen, None, None, tokens, start + tokens, device=pack.device)

    return pack.once(("mask", window), make)


def flex_pack_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pack: Pack,
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """[1, H, N, D] and [1, K, P + N, D] → [1, N, H, D], as `training.pack_attention`."""

    def capped(score: Tensor, *_: Any) -> Tensor:
        return torch.tanh(score / softcap) * softcap  # type: ignore[operator]

    attend = _compiled() if query.is_cuda else flex_attention
    out: Tensor = attend(
        query.to(value.dtype),
        key.to(value.dtype),
        value,
        score_mod=capped if softcap is not None else None,
        block_mask=block_mask(pack, window),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2)


_KERNEL: list[Any] = []


def _compiled() -> Any:
    """`flex_attention` compiled, once a process; packs differ in length, hence dynamic."""
    if not _KERNEL:
        _KERNEL.append(torch.compile(flex_attention, dynamic=True))
    return _KERNEL[0]
