"""The built-in project: a ferry operator's messages, one record each."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from assay import builtin
from assay.candidates import ways
from assay.config import CONFIG_FILE, Config
from assay.errors import UsageError
from assay.progress import SILENT, Progress
from assay.project.estimate import Sizes, estimate
from assay.project.init import Choices, draft
from assay.project.project import Project, create, open
from assay.store.files import write_atomic

HOLDOUT_ROWS = 120
"""Enough for a verdict, few enough to end in ten minutes on two cores."""
BUDGET_S = 480.0
"""Of ten minutes; the estimate is right within a factor, not to the minute."""
EFFORTS: tuple[tuple[int, int | None], ...] = (
    (3, None),
    (2, None),
    (2, 400),
    (2, 250),
    (1, 250),
    (1, 120),
)
"""(epochs, training rows; None: all), the best first; a slow machine gets a later one."""


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
    _change(made.root / CONFIG_FILE, 3, None)
    shortened = open(folder)
    epochs, rows = _effort(shortened.config, shortened.sizes(progress))
    if (epochs, rows) != EFFORTS[0]:
        progress.say(
            f"On this machine all of it would take longer than ten minutes: the demo trains on "
            f"{rows or 'all'} rows, {epochs} times."
        )
        _change(made.root / CONFIG_FILE, epochs, rows)
    return open(folder)


def _effort(config: Config, sizes: Sizes) -> tuple[int, int | None]:
    """The best of `EFFORTS` that this machine has the time for, else the last."""
    names = ways(config.candidates, config.task)
    for epochs, rows in EFFORTS:
        tune = config.fine_tune.model_copy(update={"epochs": epochs})
        less = replace(sizes, train=min(sizes.train, rows or sizes.train))
        shorter = config.model_copy(update={"fine_tune": tune})
        if estimate(shorter, less, names, 1.0).seconds <= BUDGET_S:
            return epochs, rows
    return EFFORTS[-1]


def _change(path: Path, epochs: int, rows: int | None) -> None:
    """Settings that `init` would not propose: fewer rows to answer, fewer things tried."""
    yaml = YAML()
    yaml.width = 4096
    tree = yaml.load(path.read_text(encoding="utf-8"))
    tree["data"]["holdout_rows"] = HOLDOUT_ROWS
    tree["data"]["train_rows"] = rows
    tree["few_shot"]["ks"] = [1, 3]
    tree["fine_tune"]["epochs"] = epochs
    text = StringIO()
    yaml.dump(tree, text)
    write_atomic(path, text.getvalue())
