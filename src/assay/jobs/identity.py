"""Names of workers: which process on which machine, and what can be known of it from here.

    worker_name()                 # "host:4711:8812345:5f3c0a91be02:9d1c44aa"
    dead_workers({...})           # of some names those whose process is surely gone

A name is host, process, when that started, where process numbers mean the same, and a random part:
two containers may have one host name and the same numbers. Whether another's process is gone can be
known in one place only: under one running kernel and within one namespace of process numbers.
Everybody else is waited for until they have been silent for long (`recovery.SILENCE`).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import psutil

_PROC = Path("/proc")
_HOST = 40
"""Characters of a host's name: it is there for people, and the column has an end."""


def worker_name() -> str:
    """This process's; no other process, here or elsewhere, has the same name."""
    return _name(os.getpid())


@cache
def _name(process: int) -> str:
    parts = socket.gethostname()[:_HOST], process, _started(process) or 0, _place() or "unknown"
    return ":".join(map(str, (*parts, secrets.token_hex(4))))


def dead_workers(names: Iterable[str]) -> list[str]:
    """Those whose process is surely no more."""
    return [name for name in names if _is_dead(name)]


def _is_dead(name: str) -> bool:
    parts = name.rsplit(":", 4)
    if len(parts) < 5 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return False  # of an older version
    process, started, place = int(parts[1]), int(parts[2]), parts[3]
    if place != _place():
        return False
    if not psutil.pid_exists(process):
        return True
    now = _started(process)
    return now is not None and started > 0 and now != started


def _place() -> str | None:
    """Where a process number means the same process: this kernel since it was started, and this
    namespace; None: it cannot be told."""
    try:
        kernel = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = os.stat(_PROC / "self/ns/pid").st_ino
    except OSError:
        return None
    return hashlib.sha256(f"{kernel} {namespace}".encode()).hexdigest()[:12]


def _started(process: int) -> int | None:
    """Ticks from the kernel's start to the process's: no clock that can be set is in it."""
    try:
        said = (_PROC / str(process) / "stat").read_bytes()
    except OSError:
        return None
    return int(said.rpartition(b")")[2].split()[19])
