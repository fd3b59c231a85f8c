"""Files that graders' settings name: regular ones of limited size, so that none hangs a server."""

from __future__ import annotations

import stat
from pathlib import Path

LARGEST = 16 << 20
"""Bytes of a file that a grader reads."""


def check_file(path: Path) -> None:
    """Look at a file before it is opened: a pipe or device would be read for ever.

    Raises:
        OSError: it is not there, no regular file, or too large.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError("it is not a regular file")
    if about.st_size > LARGEST:
        raise OSError(f"it is larger than {LARGEST >> 20} MiB")
