"""Turns a general language model into a specialist for one job, and proves what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assay.kernel_cache import keep_few
from assay.version import VERSION

if TYPE_CHECKING:
    from assay.project import Project

__version__ = VERSION

keep_few()


def open(path: str | Path) -> Project:
    """The project in a folder; see `assay.project` for what one does with it."""
    from assay.project import open as open_project

    return open_project(path)
