"""What a training uses of the machine: the number format, the memory it has had."""

from __future__ import annotations

import resource
import sys
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import nn

Compute = Literal["float32", "bfloat16"]


def computing(model: nn.Module, compute: str) -> AbstractContextManager[object]:
    """Within the block, matrix multiplications run in `compute`; the weights stay as they are."""
    return torch.autocast(_device(model).type, torch.bfloat16, enabled=compute == "bfloat16")


def peak_bytes(model: nn.Module) -> int:
    """The most memory this process has had so far, on the model's device."""
    device = _device(model)
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def readable(size: float) -> str:
    """Bytes as a person reads them: `1.4 GiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
