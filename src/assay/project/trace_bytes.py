"""How much of the disk traces of other programs take on a server."""

from __future__ import annotations

import os
from pathlib import Path

from assay.defaults import IMPORTED_TRACES, STATE_FOLDER, TRACE_PROJECTS
from assay.release.imported.folder import TraceFolder


def trace_bytes(root: Path) -> int:
    """Bytes of the imported traces of a folder that is served, and of the projects made of them.

    Not of those projects' state, which only commands that somebody runs there make larger.
    """
    total = TraceFolder(root / IMPORTED_TRACES).size
    for folder, folders, names in os.walk(root / TRACE_PROJECTS):
        folders[:] = [name for name in folders if name != STATE_FOLDER]
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # deleted in the meantime
                continue
    return total
