"""The tree as a block mask for torch's `flex_attention`: the way on CUDA.

Depth first order makes the tree an interval: token k is seen by q when k ≤ q < exit[k]. Blocks of
the mask that nobody sees are not computed; which those are follows from the intervals, without a
mask of all queries and keys.

What differs from pass to pass (lengths, the trunk's, windows) reaches the kernel as tensors: a
number that torch takes for a constant would be compiled again for each of its values.

Letters: N tokens of a pass, P of its trunk, Q and B blocks of N and of P + N.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch._dynamo import config as dynamo
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch.fx.experimental import _config as shapes
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from assay.errors import ModelError

if TYPE_CHECKING:
    from assay.prefix.pack import Pack

BLOCK = 128
LEAST = BLOCK + 1
"""Tokens of a pass, at least; a shorter one is filled up. A list of one block is a constant to
torch, and short queries go to a kernel of their own: each would be one more graph."""
GRAPHS = 64
"""Most graphs of a process: a model needs a few, and torch's own limit of 8 is for one."""


class Intervals(NamedTuple):
    """Who sees a token: q sees key k when k ≤ q + start, q < exit[k], and the window reaches it.

    Attributes:
        start: [] tokens before the pass, P.
        window: [] positions that a token looks back, itself included.
        exit: [P + N] the place in the pass behind all that see a key.
        position: [P + N] of the keys; those of the pass are the last N.
    """

    start: Tensor
    window: Tensor
    exit: Tensor
    position: Tensor


class Blocks(NamedTuple):
    """The blocks of a mask, as `BlockMask` has them: how many in a row, and which, those first.

    [1, 1, Q] and [1, 1, Q, B]; the last four by columns: [1, 1, B] and [1, 1, B, Q]. Of a full
    block every query sees every key.
    """

    kv_num_blocks: Tensor
    kv_indices: Tensor
    full_kv_num_blocks: Tensor
    full_kv_indices: Tensor
    q_num_blocks: Tensor
    q_indices: Tensor
    full_q_num_blocks: Tensor
    full_q_indices: Tensor


def intervals_of(pack: Pack, window: int | None) -> Intervals:
    """Of the pass, filled up to `LEAST` tokens that see themselves alone."""
    device, start = pack.device, pack.start
    tokens = len(pack.ids)
    own = torch.arange(tokens, max(LEAST, tokens), device=device)
    return Intervals(
        torch.full((), start, device=device),
        torch.full((), start + tokens if window is None else window, device=device),
        torch.cat([torch.full((start,), tokens, device=device), pack.exit, own + 1]),
        torch.cat([torch.arange(start, device=device), pack.position, torch.zeros_like(own)]),
    )


def blocks_of(seen: Intervals, start: int) -> Blocks:
    """Which blocks are seen in part and in full; equal to what `create_block_mask` finds."""
    keys = len(seen.exit)
    tokens = keys - start
    device = seen.exit.device
    low = torch.arange(0, tokens, BLOCK, device=device)[:, None]  # [Q, 1], of each block's queries
    high = (low + BLOCK).clamp(max=tokens)
    first = (torch.arange(keys, device=device) - start).clamp(min=0)  # [B · BLOCK], who sees a key
    last = torch.minimum(seen.exit, high)  # [Q, P + N], of those within a block
    position = _filled(seen.position[start:], 2**31).view(-1, BLOCK)
    # A key's first query is itself. Of a block that begins behind it, the nearest is looked for.
    near = position.cummin(1).values.gather(1, (last - low - 1).clamp(0, BLOCK - 1))
    reached = (first > low) | (near - seen.position < seen.window)
    some = (torch.maximum(first, low) < last) & reached
    far = _filled(seen.position[start:], 0).view(-1, BLOCK).amax(1, keepdim=True)
    every = (first <= low) & (seen.exit >= low + BLOCK) & (far - seen.position < seen.window)
    by_block = (len(low), -1, BLOCK)
    full = _filled(every, False).view(by_block).all(-1)
    part = _filled(some, False).view(by_block).any(-1) & ~full
    lists = [_listed(one) for one in (part, full, part.T, full.T)]
    return Blocks(*(tensor[None, None] for pair in lists for tensor in pair))


def _filled(tensor: Tensor, value: float) -> Tensor:
    """Up to whole blocks along the last axis."""
    return torch.nn.functional.pad(tensor, (0, -tensor.shape[-1] % BLOCK), value=value)


def _listed(dense: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row, how many are true, and the columns with those first."""
    order = dense.int().argsort(dim=-1, descending=True, stable=True)
    return dense.sum(-1, dtype=torch.int32), order.int().contiguous()


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Intervals,
    blocks: Blocks,
    softcap: Tensor | None,
    scaling: float,
) -> Tensor:
    """[1, H, N, D] and [1, K, P + N, D] → [1, H, N, D]; what is compiled."""
    start, window, leaving, position = seen

    def visible(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        near = position[q + start] - position[k] < window
        return (k - start <= q) & (q < leaving[k]) & near

    def capped(score: Tensor, *_: Any) -> Tensor:
        return torch.tanh(score / softcap) * softcap  # type: ignore[operator]

    out: Tensor = flex_attention(
        query,
        key,
        value,
        score_mod=capped if softcap is not None else None,
        block_mask=BlockMask(
            seq_lengths=(query.shape[2], key.shape[2]),
            BLOCK_SIZE=(BLOCK, BLOCK),
            mask_mod=visible,
            **blocks._asdict(),
        ),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out


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

    def make() -> tuple[Intervals, Blocks]:
        seen = intervals_of(pack, window)
        return seen, blocks_of(seen, pack.start)

    seen, blocks = pack.once(("mask", window), make)
    cap = None
    if softcap is not None:
        cap = pack.once(("cap", softcap), lambda: torch.full((), softcap, device=pack.device))
    tokens = query.shape[2]
    q, k, v = (_filled_up(t.to(value.dtype), tokens) for t in (query, key, value))
    run = compiled() if query.is_cuda else attend
    try:
        with (
            dynamo.patch(recompile_limit=GRAPHS, specialize_float=True),
            # As many tokens or blocks as heads are no reason to take one for the other.
            shapes.patch(use_duck_shape=False),  # type: ignore[attr-defined]
        ):
            out = run(q, k, v, seen, blocks, cap, scaling)
    except FailOnRecompileLimitHit:
        raise ModelError(
            f"attention was compiled for {GRAPHS} kinds of layer in this process, and this is one "
            "more.",
            fix="Start Assay again: what is unfinished goes on from its last checkpoint.",
        ) from None
    return out[:, :, :tokens].transpose(1, 2)


def _filled_up(heads: Tensor, tokens: int) -> Tensor:
    """To `LEAST` tokens, and token by token in memory: other strides would be another graph.

    Keys and values over a trunk are copied for it; what comes from a linear map lies so.
    """
    by_token = heads.transpose(1, 2)
    if tokens < LEAST:
        by_token = torch.nn.functional.pad(by_token, (0, 0, 0, 0, 0, LEAST - tokens))
    return by_token.contiguous().transpose(1, 2)


@cache
def compiled(backend: str | Callable[..., Any] = "inductor") -> Callable[..., Tensor]:
    """`attend` compiled, once a process; as one graph, or not at all.

    Uncompiled, `flex_attention` would hold the scores of all queries and keys.
    """
    return torch.compile(attend, backend=backend, dynamic=True, fullgraph=True)
