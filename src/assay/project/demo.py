"""The built-in project: a ferry operator's messages, one record each."""

from __future__ import annotations

from pathlib import Path

from assay import builtin
from assay.config import CONFIG_FILE
from assay.errors import UsageError
from assay.progress import SILENT, Progress
from assay.project.init import Choices, draft
from assay.project.project import Project, create, open

TRAIN_ROWS = 300
"""Until training shares prefixes, the demo trains on a part of its rows, to end in ten minutes."""


def open_demo(folder: Path, progress: Progress = SILENT) -> Project:
    """The built-in project at `folder`; made when it is not there, opened when it is.

    Raises:
        UsageError: something else is at `folder`.
    """
    if (folder / CONFIG_FILE).exists():
        return open(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is there and is no project.", fix="Choose another folder.")
    if folder.exists():
        folder.rmdir()
    choices = Choices(
        data=builtin.folder() / "tickets.jsonl",
        input=["message"],
        output=["record"],
        id="id",
        train_rows=TRAIN_ROWS,
    )
    return create(draft("ferry", choices, progress), folder=folder, progress=progress)
