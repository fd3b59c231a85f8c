"""What the machine at hand can do: number format, free memory, memory used."""

from __future__ import annotations

import resource
import sys
from contextlib import AbstractContextManager
from typing import Literal

import psutil
import torch
from torch import nn

from assay.errors import ModelError
from assay.models.load import LoadedModel

Compute = Literal["float32", "bfloat16"]


def compute_dtype(loaded: LoadedModel) -> Compute:
    """The number format in which this machine multiplies matrices fast.

    bfloat16 where the hardware has instructions for it (measured: 2 to 3 times the speed of
    float32 on a CPU with AVX512-BF16), or where the base weights are bfloat16 already.

    Raises:
        ModelError: the base weights are float16, whose gradients underflow.
    """
    if loaded.dtype == "float16":
        raise ModelError(
            "float16 weights cannot be trained safely: their gradients underflow.",
            where=loaded.ref,
            fix='Load the model with dtype "float32" or "bfloat16".',
        )
    if loaded.dtype == "bfloat16":
        return "bfloat16"
    return "bfloat16" if native_bfloat16(loaded.model.device.type) else "float32"


def native_bfloat16(kind: str) -> bool:
    """Whether a kind of device ("cpu", "cuda") of this machine multiplies bfloat16 natively."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return False
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # new in 2.11
    return known.get("avx512_bf16", False) or known.get("amx_bf16", False)


def computing(model: nn.Module, compute: str) -> AbstractContextManager[object]:
    """Within the block, matrix multiplications run in `compute`; the weights stay as they are."""
    return torch.autocast(_device(model).type, torch.bfloat16, enabled=compute == "bfloat16")


def available_bytes(model: nn.Module) -> int:
    """Memory that can still be had on the model's device."""
    device = _device(model)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return int(psutil.virtual_memory().available)


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
