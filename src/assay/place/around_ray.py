"""What Ray reads of the process that it is in, and what it would change there."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without it Ray binds to every address of the machine, whatever address it is told to be at.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Ray's is 15: beside other work rank 0 would wait for ranks that hardly get a processor.
    "RAY_worker_niceness": "0",
}


@contextmanager
def ray_variables() -> Iterator[None]:
    """Of Ray's variables only those of a cluster of this machine are set; afterwards they are as
    they were, what Ray sets included."""

    def of_ray() -> dict[str, str]:
        names = [n for n in os.environ if n.startswith("RAY_") or n == "PYTHONBREAKPOINT"]
        return {name: os.environ[name] for name in names}

    before = of_ray()

    def clear() -> None:
        for name in of_ray():
            del os.environ[name]

    clear()
    os.environ.update(_VARIABLES | {"RAY_AUTH_TOKEN": _token()})
    try:
        yield
    finally:
        clear()
        os.environ.update(before)


@cache
def _token() -> str:
    """Without it nobody is let in. Ray reads it once in a process, and without one it would keep a
    token in the user's home."""
    return secrets.token_hex(32)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; whoever heard it before still does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def ignore_interrupts() -> None:
    """In a process of the cluster: Ctrl-C is for the one that the user has started."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def hide_gpus() -> None:
    """In a process of the cluster that has asked for no GPU: Ray leaves those of its machine in
    sight, so that every such process would take the first one."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
