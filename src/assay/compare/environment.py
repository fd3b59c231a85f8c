"""What a comparison ran on, so that it can be repeated."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("torch", "transformers", "peft", "tokenizers", "scikit-learn", "numpy", "llguidance")
VLLM = "vLLM"
"""What the line of the server that answered is called."""


def environment(server: str = "") -> dict[str, Any]:
    """Python, system, processor, memory and the versions that can change a figure.

    Args:
        server: version and address of the vLLM server that answered; empty: none did.
    """
    return {
        **({VLLM: server} if server else {}),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The model name where Linux tells it, else what Python knows."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
