"""Where models run on this machine, what memory is left there, and how its end shows."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import torch

GROUP = Path("/sys/fs/cgroup")

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ *(.*)")  # proc_pid_smaps(5)
_DONTNEED = 4  # madvise(2), Linux


def best_device() -> str:
    """`cuda` where there is one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on `device`; what a GPU is computing is not waited for."""
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)


def index_tensors(device: torch.device, *numbers: Sequence[int]) -> tuple[torch.Tensor, ...]:
    """Each sequence as int64 on `device`; all of them are one copy, as `to_device` makes it."""
    import torch

    whole = torch.tensor([n for some in numbers for n in some], dtype=torch.int64)
    return torch.split(to_device(whole, device), [len(some) for some in numbers])


def start_reading(tensor: torch.Tensor) -> Callable[[], Any]:
    """Begin to copy a tensor to the CPU; what is returned gives its numbers, as `tolist` does.

    That waits for the tensor, and for nothing that a GPU is told to compute after it.
    """
    import torch

    if tensor.device.type != "cuda":
        return tensor.tolist
    copy = tensor.to("cpu", non_blocking=True)  # torch gives it pinned memory
    is_there = torch.cuda.current_stream(tensor.device).record_event()

    def read() -> Any:
        is_there.synchronize()
        return copy.tolist()

    return read


def native_bfloat16(kind: str) -> bool:
    """Whether a kind of device ("cpu", "cuda") of this machine multiplies bfloat16 natively."""
    import torch

    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return False
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # new in 2.11
    return known.get("avx512_bf16", False) or known.get("amx_bf16", False)


def fast_dtype() -> str:
    """What a model answers in here: bfloat16 where it is native (about twice as fast)."""
    return "bfloat16" if native_bfloat16(best_device()) else "float32"


def emulates_bfloat16(kind: str) -> bool:
    """Whether a kind of device is known to multiply bfloat16 many times slower than float32."""
    import torch

    asked = kind == "cpu" and platform.machine().lower() in ("x86_64", "amd64")
    return asked and hasattr(torch.cpu, "get_capabilities") and not native_bfloat16(kind)


def cores() -> int:
    """Cores that this process may keep busy: not those of others, and within its container."""
    found = psutil.cpu_count(logical=False) or 1
    if hasattr(os, "sched_getaffinity"):
        found = min(found, len(os.sched_getaffinity(0)))
    try:
        quota, period = (GROUP / "cpu.max").read_text().split()
        return max(1, min(found, int(quota) // int(period)))
    except (OSError, ValueError):  # none, or the word "max"
        return found


def give_back_freed() -> None:
    """Hand memory that was freed back to the system, where the C library keeps it by thread.

    glibc does: what threads have loaded and another one frees would be no use to either.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library has no such call
        ctypes.CDLL(None).malloc_trim(0)


def give_back_read(tensors: Iterable[torch.Tensor]) -> None:
    """Take the files out of memory that hold these tensors; what is read again comes from the file.

    Linux only. Whoever calls keeps the tensors, and so the mappings. A file of which this process
    has changed a page stays, in memory or swapped out: the change would be lost.
    """
    places = [tensor.data_ptr() for tensor in tensors if tensor.device.type == "cpu"]
    with suppress(OSError, AttributeError):
        start, end, unchanged = 0, 0, False
        for line in Path("/proc/self/smaps").read_text("utf-8", "replace").splitlines():
            if found := _MAPPING.match(line):
                start, end = int(found[1], 16), int(found[2], 16)
                unchanged = found[3].endswith(".safetensors")
            elif line.startswith("Anonymous:"):
                unchanged &= line.split()[1] == "0"
            elif line.startswith("Swap:"):
                unchanged &= line.split()[1] == "0"
                if unchanged and any(start <= place < end for place in places):
                    length = ctypes.c_size_t(end - start)
                    ctypes.CDLL(None).madvise(ctypes.c_void_p(start), length, _DONTNEED)


def available_bytes(device: torch.device) -> int:
    """Memory that can still be had on a device."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch has freed and keeps, it gives again.
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return free_bytes()


def free_bytes() -> int:
    """Memory that can still be had on this machine, and within its container."""
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


def ran_out(error: BaseException) -> bool:
    """Whether an operation failed for want of memory: torch has no error of its own on a CPU."""
    import torch

    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
