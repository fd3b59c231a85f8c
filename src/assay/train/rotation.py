"""Rotary position embeddings (Su et al. 2021, arXiv:2104.09864) in fewer passes over memory.

The families of transformers rotate queries and keys by a function of their module,
`apply_rotary_pos_emb`: two products, a negated and joined copy and a sum, each a tensor of its own,
and as many again backward. Here both directions are one product and two sums in place. The function
is recognised by what it computes; another one stays as it is.

Letters: N tokens, H heads, D head size.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

NAME = "apply_rotary_pos_emb"
_SAME = 1e-5

Rotate = Callable[..., tuple[Tensor, Tensor]]


@contextmanager
def rotating(model: nn.Module) -> Iterator[int]:
    """Within the block, queries and keys of `model` are rotated by the function of this module.

    The function belongs to the family: other models of it that are at work meanwhile are rotated
    the same way, to the same result up to rounding.

    Yields:
        How many functions were replaced.
    """
    modules = {sys.modules[type(module).__module__] for module in model.modules()}
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        modules = set()  # what runs twice must run the same: another training may end between
    before: dict[ModuleType, Rotate] = {}
    for module in modules:
        own = getattr(module, NAME, None)
        if own is not None and not isinstance(own, _InPlace) and _rotates(own):
            before[module] = own
            setattr(module, NAME, _InPlace(own))
    try:
        yield len(before)
    finally:
        for module, own in before.items():
            setattr(module, NAME, own)


@dataclass(frozen=True, slots=True)
class _InPlace:
    """A function of transformers, faster where a gradient is wanted and whole heads are rotated."""

    own: Rotate

    def __call__(self, *given: Any, **named: Any) -> Any:
        if named or len(given) != 4 or not torch.is_grad_enabled():
            return self.own(*given, **named)
        query, key, cos, sin = given
        if not cos.shape[-2:] == query.shape[-2:] == key.shape[-2:]:
            return self.own(*given)
        return tuple(_Rotation.apply(t, cos, sin) for t in (query, key))  # type: ignore[no-untyped-call]


class _Rotation(torch.autograd.Function):
    """y₁ = x₁·cos − x₂·sin, y₂ = x₂·cos + x₁·sin, for the halves of each head."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[1, H, N, D] in the type of `x`; cos and sin are [1, N, D]."""
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, back=False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _turned(grad, *ctx.saved_tensors, back=True), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor, *, back: bool) -> Tensor:
    """The rotation of `x`, or its transpose, computed in float32 at least."""
    half = x.shape[-1] // 2
    dtype = torch.promote_types(torch.promote_types(x.dtype, cos.dtype), torch.float32)
    wide, sines = x.to(dtype), sin.to(dtype).unsqueeze(1).tensor_split(2, dim=-1)
    first, second = wide.tensor_split(2, dim=-1)
    turned = wide * cos.to(dtype).unsqueeze(1)
    sign = 1 if back else -1
    turned[..., :half].addcmul_(second, sines[back], value=sign)
    turned[..., half:].addcmul_(first, sines[not back], value=-sign)
    return turned.to(x.dtype)


def _rotates(own: Rotate) -> bool:
    """Whether a function gives on a random input what `_Rotation` does."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    query, key, cos, sin = drawn(1, 4, 3, 8), drawn(1, 2, 3, 8), drawn(1, 3, 8), drawn(1, 3, 8)
    try:
        wanted = own(query, key, cos, sin)
    except (RuntimeError, TypeError, IndexError):
        return False
    found = [_turned(t, cos, sin, back=False) for t in (query, key)]
    return len(wanted) == 2 and all(
        ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=0, atol=_SAME)
        for ours, theirs in zip(found, wanted, strict=True)
    )
