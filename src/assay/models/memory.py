"""How it shows that the memory has run out, whatever the device."""

from __future__ import annotations


def ran_out(error: BaseException) -> bool:
    """Whether an operation failed for want of memory: torch has no error of its own on a CPU."""
    import torch

    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
