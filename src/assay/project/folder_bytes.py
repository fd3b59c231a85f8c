"""How much of the disk folders of a served folder take that no table counts."""

from __future__ import annotations

from pathlib import Path

from assay.defaults import IMPORTED_TRACES, RESCUED, STATE_FOLDER, TRACE_PROJECTS
from assay.release.imported.folder import TraceFolder
from assay.store.files import folder_bytes


def trace_bytes(root: Path) -> int:
    """Bytes of the imported traces of a folder that is served, and of the projects made of them."""
    return TraceFolder(root / IMPORTED_TRACES).size + _size(root / TRACE_PROJECTS)


def rescued_bytes(root: Path) -> int:
    """Bytes of the account that was fetched into a folder that is served, of recorded answers, and
    of the projects of its models."""
    return _size(root / RESCUED)


def _size(root: Path) -> int:
    """Without the state of projects, which only commands that somebody runs there make larger."""
    return folder_bytes(root, besides=STATE_FOLDER)
