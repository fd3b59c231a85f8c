"""What the machine at hand can do: number format, free memory, memory used."""

from __future__ import annotations

import math
import resource
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import psutil
import torch
from torch import nn

Compute = Literal["float32", "bfloat16"]
GROUP = Path("/sys/fs/cgroup")


def native_bfloat16(kind: str) -> bool:
    """Whether a kind of device ("cpu", "cuda") of this machine multiplies bfloat16 natively."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return False
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # new in 2.11
    return known.get("avx512_bf16", False) or known.get("amx_bf16", False)


def best_device() -> torch.device:
    """Where a training runs fastest here."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computing(model: nn.Module, compute: str) -> AbstractContextManager[object]:
    """Within the block, matrix multiplications run in `compute`; the weights stay as they are."""
    return torch.autocast(_device(model).type, torch.bfloat16, enabled=compute == "bfloat16")


def available_bytes(model: nn.Module) -> int:
    """Memory that can still be had on the model's device."""
    device = _device(model)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return int(min(psutil.virtual_memory().available, _left_in_container()))


def _left_in_container() -> float:
    """Bytes up to the limit of the control group (Linux, v2), where the process would be killed."""
    try:
        limit = int((GROUP / "memory.max").read_text())
        used = int((GROUP / "memory.current").read_text())
        counts = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(counts["inactive_file"]))  # files can be read again
    except (OSError, ValueError, KeyError):  # none, or its limit is the word "max"
        return math.inf


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
