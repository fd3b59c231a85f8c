"""Rows of a tensor that are taken, or added up, so that equal input gives equal bits.

Where several things are added to one number, each kind of device has one operation that keeps to an
order, and they are not the same one.
"""

from __future__ import annotations

from torch import Tensor


def select_rows(hidden_nd: Tensor, where: Tensor) -> Tensor:
    """Rows of `hidden_nd`, some more than once; their gradients are added up in one order.

    On a CPU the backward pass of hidden[where] adds them in any order, on CUDA that of
    `index_select` does, while the other one sorts.
    """
    return hidden_nd[where] if hidden_nd.is_cuda else hidden_nd.index_select(0, where)


def sums_of_rows(values_n: Tensor, row_n: Tensor, rows: int) -> Tensor:
    """[rows] what the values of each row add up to, added in one order."""
    sums = values_n.new_zeros(rows)
    if values_n.is_cuda:
        return sums.index_put_((row_n,), values_n, accumulate=True)
    return sums.index_add_(0, row_n, values_n)
