"""Where a program would wait for a GPU, found on a CPU.

    with waits() as found:
        step(model, units)
    found                              # ["assay.train.step._over"]

A GPU works through what it is given while Python goes on; who reads a tensor, or copies to the GPU
from ordinary memory, waits until it has come so far. Not seen are an index that is a list,
`copy_` from the CPU, `unique`, and `repeat_interleave` by a tensor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CPU_ONLY = {"assay.prefix.blocks"}
"""Modules that do not run on a GPU."""

_aten = torch.ops.aten
_ONE = {_aten._local_scalar_dense, _aten.item}  # the latter in inference mode
_READING = {*_ONE, _aten.nonzero, _aten.masked_select, _aten.equal}
_BY_MASK = {_aten.index, _aten.index_put, _aten.index_put_}
_WHOLE = {"tolist", "cpu", "numpy"}
_COPYING = {"tensor", "as_tensor", "new_tensor", "to"}


@contextmanager
def waits() -> Iterator[list[str]]:
    """Within the block, each wait is noted as `module.function` of who waits."""
    found: list[str] = []
    with _Calls(found), _Operations(found):
        yield found


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Waits that are operations: `int()`, `float()`, `bool()`, `item()`, indices of bools."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        by_mask = packet in _BY_MASK and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if packet in _READING or by_mask:
            _note(self.found)
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    """Waits that are no operation on a CPU: whole tensors that are read, or copied to a device."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _WHOLE:
            _note(self.found)
        elif name in _COPYING and not kwargs.get("non_blocking"):
            named = [*args, kwargs.get("device")]
            if name == "new_tensor" or any(isinstance(one, torch.device | str) for one in named):
                _note(self.found, by_assay=True)
        return func(*args, **kwargs)


def _note(found: list[str], *, by_assay: bool = False) -> None:
    """Note the nearest function that is not torch's; `by_assay`: if it is Assay's own call.

    What others copy "to a device" is there already.
    """
    frame: Any = sys._getframe(2)
    if by_assay and not frame.f_globals["__name__"].startswith("assay."):
        return
    while (module := frame.f_globals["__name__"]) == __name__ or module.startswith("torch."):
        frame = frame.f_back
    if module not in CPU_ONLY:
        found.append(f"{module}.{frame.f_code.co_name}")
