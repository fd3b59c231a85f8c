"""A folder for one piece of work, on whatever machine of a cluster does it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK = "scratch.lock"
_YOUNG_S = 60.0
"""A folder that has changed since then is left alone: one just made has no lock yet, and of one
whose owner was killed a process may still be at work."""


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A folder `/tmp/assay-PURPOSE-*` that goes with the block. Those of processes that were killed
    go before it is made. Whoever has processes work there touches it now and then."""
    prefix = f"assay-{purpose}-"
    _remove_left(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as made, FileLock(Path(made) / _LOCK):
        yield Path(made)


def _remove_left(prefix: str) -> None:
    """Remove folders of processes that were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError, Timeout):
            found = folder.lstat()
            is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if is_own and time.time() - found.st_mtime > _YOUNG_S:
                with FileLock(folder / _LOCK, timeout=0):
                    shutil.rmtree(folder)
