"""What a training uses of the machine: the number format, the memory it has had."""

from __future__ import annotations

import resource
import sys
from contextlib import AbstractContextManager
from typing import Literal

import psutil
import torch
from torch import nn

from assay.models.device import give_back_freed

Compute = Literal["float32", "bfloat16"]


def computing(model: nn.Module, compute: str) -> AbstractContextManager[object]:
    """Within the block, matrix multiplications run in `compute`; the weights stay as they are."""
    return torch.autocast(_device(model).type, torch.bfloat16, enabled=compute == "bfloat16")


def numbers_kept(model: nn.Module) -> AbstractContextManager[object]:
    """After the block, random numbers go on as before it: the CPU's and the model's device's.

    torch would ask every GPU of the machine, and so start work on each.
    """
    device = _device(model)
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def peak_bytes(model: nn.Module) -> int:
    """The most memory this process has had so far, on the model's device."""
    device = _device(model)
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class HeapLimit:
    """Between steps, gives back what the C library keeps of freed memory, once it has grown.

    Rows of ragged length make tensors of many sizes. Those that are freed leave holes in the heap
    that a larger one does not fit into, so that the heap grows with every new size, for hundreds of
    steps. To give the holes back after each step would cost their pages' coming back in the next:
    it is done when the process holds more than it did after the first steps.
    """

    WARM_STEPS = 20
    GROWTH = 1.01

    def __init__(self, model: nn.Module) -> None:
        self._on_cpu = _device(model).type == "cpu"
        self._process = psutil.Process()
        self._steps, self._most = 0, 0

    def after_step(self) -> None:
        """Called when a step's tensors are freed."""
        if not self._on_cpu:
            return
        self._steps += 1
        resident = self._process.memory_info().rss
        if self._steps <= self.WARM_STEPS:
            self._most = max(self._most, resident)
        elif resident > self.GROWTH * self._most:
            give_back_freed()


def readable(size: float) -> str:
    """Bytes as a person reads them: `1.4 GiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
