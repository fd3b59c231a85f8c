"""One process at a time, by a locked file; the lock ends with the process, however that ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from assay.errors import NotFoundError


@contextmanager
def one_at_a_time(file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock that `file` is; its folder is made.

    Args:
        waiting: called once where another process has it: says so.

    Raises:
        NotFoundError: whoever had it has removed the folder.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
    except FileNotFoundError:
        raise NotFoundError("it was removed meanwhile.") from None
    try:
        yield
    finally:
        lock.release()
