"""Attention over a pack by torch's flash kernels: the way on a CPU in float32.

The kernels compute a causal or a full block and hand out its log-sum-exp, by which blocks are
merged exactly (Dao 2022, arXiv:2205.14135); given the merged output and log-sum-exp, their backward
pass returns a block's share of the gradients. In float32 they take two thirds of the time of plain
matrix products; in bfloat16 the products win, and windows and capped scores they do not know.

Letters as in `assay.prefix.training`: N tokens, H query heads, K key heads, G = H / K, D head size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from assay.prefix.pack import Below, Pack

_aten: Any = torch.ops.aten
_FORWARD = "_scaled_dot_product_flash_attention_for_cpu"
_BACKWARD = f"{_FORWARD}_backward"


def usable(value: Tensor, pack: Pack, window: int | None, softcap: float | None) -> bool:
    """Whether the kernels compute what is asked for."""
    if value.dtype != torch.float32 or softcap is not None or not hasattr(_aten, _BACKWARD):
        return False
    return window is None or pack.once("longest", lambda: int(pack.position.max())) < window


def flash_pack_attention(
    query: Tensor, key: Tensor, value: Tensor, pack: Pack, scaling: float
) -> Tensor:
    """[H, N, D] and [K, N, D] → [N, H, D]; see `assay.prefix.training.pack_attention`."""
    out: Tensor = _Flash.apply(query, key, value, pack, scaling)  # type: ignore[no-untyped-call]
    return out


class _Flash(torch.autograd.Function):
    """Tensors in here are [N, heads, D], as the linear maps make and take them."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, pack: Pack, scaling: float
    ) -> Tensor:
        query, key, value = (t.transpose(0, 1).contiguous() for t in (query, key, value))
        kernel = getattr(_aten, _FORWARD)
        heads = query.shape[1]
        out = torch.empty_like(query)
        lse = query.new_empty(query.shape[:2])  # [N, H]
        for own in _own(pack):
            some = (own.take(query), own.take_keys(key, heads), own.take_keys(value, heads))
            own.put_(out, lse, *kernel(*some, 0.0, True, scale=scaling))
        for below in pack.below:
            part, part_lse = kernel(*_over(below, query, key, value), 0.0, False, scale=scaling)
            _merge_(out[below.end : below.last], lse[below.end : below.last], part, part_lse)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.settings = pack, scaling
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, lse = ctx.saved_tensors
        pack, scaling = ctx.settings
        kernel = getattr(_aten, _BACKWARD)
        heads, key_heads = query.shape[1], key.shape[1]
        grad = grad.contiguous()
        d_query, d_key, d_value = (torch.empty_like(t) for t in (query, key, value))
        for own in _own(pack):
            some = (own.take(query), own.take_keys(key, heads), own.take_keys(value, heads))
            known = (own.take(out), own.take(lse.unsqueeze(-1)).squeeze(-1))
            found = kernel(own.take_real(grad), *some, *known, 0.0, True, scale=scaling)
            own.set_(d_query, found[0])
            own.set_(d_key, _summed(found[1], key_heads))
            own.set_(d_value, _summed(found[2], key_heads))
        for below in pack.below:
            rows, keys = slice(below.end, below.last), slice(below.start, below.end)
            taken = _over(below, query, key, value)
            known = (
                _grouped(out[rows], key_heads),
                _grouped(lse[rows].unsqueeze(-1), key_heads).squeeze(-1),
            )
            parts = kernel(
                _grouped(grad[rows], key_heads), *taken, *known, 0.0, False, scale=scaling
            )
            d_query[rows] += parts[0].permute(2, 0, 1, 3).flatten(1, 2)
            d_key[keys] += parts[1].sum(1).transpose(0, 1)
            d_value[keys] += parts[2].sum(1).transpose(0, 1)
        return (*(t.transpose(0, 1) for t in (d_query, d_key, d_value)), None, None)


class _Own:
    """Segments of similar length, each over itself.

    Args:
        index: [R, W] places of their tokens; a short segment repeats its last one.
        real: bool [R, W] which are no repetition; None: all.
    """

    def __init__(self, index: Tensor, real: Tensor | None) -> None:
        self.shape = index.shape
        self.real = None if real is None else real.flatten()
        self.where: Tensor | slice = index.flatten()
        if len(index) == 1 and real is None:
            self.where = slice(int(index[0, 0]), int(index[0, -1]) + 1)
        self.places = self.where
        if self.real is not None and isinstance(self.where, Tensor):
            self.places = self.where[self.real]

    def take(self, whole: Tensor) -> Tensor:
        """[N, heads, D] → [R, heads, W, D]."""
        return whole[self.where].view(*self.shape, *whole.shape[1:]).transpose(1, 2)

    def take_real(self, whole: Tensor) -> Tensor:
        """The same with zeros where a token is repeated: a repetition hands nothing back."""
        if self.real is None:
            return self.take(whole)
        kept = whole[self.where] * self.real.view(-1, 1, 1)
        return kept.view(*self.shape, *whole.shape[1:]).transpose(1, 2)

    def take_keys(self, whole: Tensor, heads: int) -> Tensor:
        """[N, K, D] → [R, H, W, D], every key head once for each of its query heads."""
        return self.take(whole).repeat_interleave(heads // whole.shape[1], dim=1)

    def set_(self, whole: Tensor, part: Tensor) -> None:
        """The inverse of `take`; every token of the pass is in one segment."""
        flat = part.transpose(1, 2).flatten(0, 1)
        whole[self.places] = flat if self.real is None else flat[self.real]

    def put_(self, out: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> None:
        """The first part of every token."""
        self.set_(out, part)
        self.set_(lse.unsqueeze(-1), part_lse.unsqueeze(-1))


def _own(pack: Pack) -> list[_Own]:
    def make() -> Iterator[_Own]:
        for alike in pack.alike:
            yield _Own(alike.index, alike.real)

    return pack.once("flash", lambda: list(make()))


def _over(below: Below, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    """What is below a node, and the node's keys and values: [K, G, n, D] each."""
    groups = query.shape[1] // key.shape[1]
    seen = (
        whole[below.start : below.end].transpose(0, 1).unsqueeze(1).expand(-1, groups, -1, -1)
        for whole in (key, value)
    )
    return _grouped(query[below.end : below.last], key.shape[1]), *seen


def _grouped(rows: Tensor, key_heads: int) -> Tensor:
    """[n, H, D] → [K, G, n, D], a view."""
    return rows.view(len(rows), key_heads, -1, rows.shape[-1]).permute(1, 2, 0, 3)


def _summed(by_head: Tensor, key_heads: int) -> Tensor:
    """[R, H, W, D] → [R, K, W, D]."""
    rows, _, width, size = by_head.shape
    return by_head.reshape(rows, key_heads, -1, width, size).sum(2)


def _merge_(out: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> None:
    """Add the keys of a part [K, G, n, D] to `out` [n, H, D] and `lse` [n, H], in place."""
    part = part.permute(2, 0, 1, 3).flatten(1, 2)
    part_lse = part_lse.permute(2, 0, 1).flatten(1, 2)
    merged = torch.logaddexp(lse, part_lse)
    out.mul_((lse - merged).exp_().unsqueeze(-1))
    out.addcmul_(part, (part_lse - merged).exp_().unsqueeze(-1))
    lse.copy_(merged)
