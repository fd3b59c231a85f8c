"""One process at a time, by a locked file; the lock ends with the process, however that ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def one_at_a_time(file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock that `file` is; its folder is made.

    Args:
        waiting: called once where another process has it: says so.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
