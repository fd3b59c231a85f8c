"""The built-in messages with their whole records, as a project: what several benches measure on.

The demo asks for less (`assay.project.start.demo`), so that everybody has the time for it.
"""

from __future__ import annotations

from pathlib import Path

from assay import builtin
from assay.config import CONFIG_FILE
from assay.config.yaml_text import edit
from assay.progress import SILENT, Progress
from assay.project import Choices, Project, create, draft
from assay.project import open as open_project
from assay.store.files import write_atomic

SETTINGS = {
    "data.holdout_rows": 120,
    "data.split.holdout": 0.2,
    "few_shot.ks": [1, 3],
    "fine_tune.epochs": 3,
    "fine_tune.seeds": 1,
}


def open_ferry(folder: Path, progress: Progress = SILENT) -> Project:
    """The project in a folder, made where it is not there."""
    path = folder / CONFIG_FILE
    if not path.exists():
        choices = Choices(
            data=builtin.folder() / "tickets.jsonl", input=["message"], output=["record"], id="id"
        )
        create(draft("ferry", choices, progress), folder=folder, progress=progress)
        write_atomic(path, edit(path.read_text("utf-8"), SETTINGS))
    return open_project(folder)
