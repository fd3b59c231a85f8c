"""Sums in another order: what other instruction sets compute, as far as tests can see it.

    python -m pytest -p tests.summation tests/invariants/test_training.py

Under this plugin every matrix product of a test is added up in blocks whose size depends on the
place of the row, the last block first, in float32 whatever the format of its factors. So do kernels
whose blocks end where a row happens to lie, and AMX with bfloat16 factors, on machines that are not
here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


BLOCKS = (11, 17, 29)


def product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right of two matrices, or of two stacks of them."""
    whole = torch.empty(*left.shape[:-1], right.shape[-1], dtype=left.dtype)
    first, second = left.float(), right.float()
    for place, size in enumerate(BLOCKS):
        rows = first[..., place :: len(BLOCKS), :]
        total = rows.new_zeros(*rows.shape[:-1], right.shape[-1])
        for start in reversed(range(0, left.shape[-1], size)):
            total += rows[..., start : start + size] @ second[..., start : start + size, :]
        whole[..., place :: len(BLOCKS), :] = total
    return whole


def added(
    bias: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """What `addmm` computes."""
    return (beta * bias + alpha * product(left, right)).to(left.dtype)


INSTEAD: dict[Any, Callable[..., Tensor]] = {
    aten.mm.default: product,
    aten.bmm.default: product,
    aten.addmm.default: added,
    aten.baddbmm.default: added,
}


class OtherOrder(TorchDispatchMode):
    """Within the block, products are computed by `product`, forward and backward."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """An operation of torch's."""
        floats = all(
            a.dtype in (torch.float32, torch.bfloat16) for a in args[:2] if torch.is_tensor(a)
        )
        return (INSTEAD.get(func, func) if floats else func)(*args, **(kwargs or {}))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Every test."""
    with OtherOrder():
        return (yield)
