"""The built-in project: a ferry operator's messages, one record each."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from assay import builtin
from assay.config import CONFIG_FILE
from assay.errors import UsageError
from assay.progress import SILENT, Progress
from assay.project.init import Choices, draft
from assay.project.project import Project, create, open
from assay.store.files import write_atomic

HOLDOUT_ROWS = 120
"""Enough for a verdict, few enough to end in ten minutes on two cores."""


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
    )
    made = create(draft("ferry", choices, progress), folder=folder, progress=progress)
    _shorten(made.root / CONFIG_FILE)
    return open(folder)


def _shorten(path: Path) -> None:
    """Settings that `init` would not propose: fewer rows to answer, fewer things tried."""
    yaml = YAML()
    yaml.width = 4096
    tree = yaml.load(path.read_text(encoding="utf-8"))
    tree["data"]["holdout_rows"] = HOLDOUT_ROWS
    tree["few_shot"]["ks"] = [1, 3]
    tree["fine_tune"]["epochs"] = 3
    text = StringIO()
    yaml.dump(tree, text)
    write_atomic(path, text.getvalue())
