"""The built-in jobs of a ferry operator: messages to desks and to records, handbook questions."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay import builtin, json_reader
from assay.agent.texts import edit
from assay.candidates.registry import taking_part
from assay.candidates.spec import Sizes
from assay.config import CONFIG_FILE, Config
from assay.errors import UsageError
from assay.progress import SILENT, Progress
from assay.project.estimate import estimate
from assay.project.project import Project, open
from assay.project.start.init import Choices, create, draft
from assay.store.files import write_atomic

BUDGET_S = 440.0
"""Of ten minutes, for the records: the handbook takes more than one, and what was told as eight
came to nine and a half."""
HOLDOUT = 0.2
"""Share that is locked away; the rows that the verdict is on are drawn from it."""
DESKS, RECORDS, HANDBOOK = "desks", "records", "handbook"
"""Folders of the jobs, in that of the demo."""
MESSAGES = "desks.csv"
"""File of the first job's examples, beside the folders: such as a user would bring."""
DESKS_ROWS = 160
"""Messages that the first verdict is on; half as many are for validation."""
HANDBOOK_ROWS = 40
"""Questions that the third verdict is on; half as many are for validation."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of it a machine has the time for.

    Attributes:
        epochs, train_rows: of the training; None: all rows.
        holdout_rows: that the verdict is on.
        validation: share of the rows that are not holdout.
        ks: numbers of shown examples that are tried.
    """

    epochs: int
    train_rows: int | None
    holdout_rows: int
    validation: float
    ks: tuple[int, ...]


EFFORTS = (
    Effort(3, None, 120, 0.15, (1, 3)),
    Effort(2, None, 120, 0.15, (1, 3)),
    Effort(2, None, 100, 0.1, (1, 3)),
    Effort(2, None, 100, 0.08, (1,)),
    Effort(2, 500, 100, 0.08, (1,)),
    Effort(2, 400, 80, 0.06, (1,)),
    Effort(2, 330, 50, 0.05, (1,)),
    Effort(2, 250, 50, 0.05, (1,)),
    Effort(2, 180, 50, 0.05, (1,)),
    Effort(2, 120, 40, 0.05, (1,)),
    Effort(1, 100, 40, 0.05, (1,)),
)
"""The best first; a slow machine gets a later one."""


def open_demos(folder: Path, progress: Progress = SILENT) -> Iterator[Project]:
    """The three jobs, cheapest first; each is made when the one before it is done with.

    Raises:
        UsageError: something else is at `folder`.
    """
    ours = {DESKS, RECORDS, HANDBOOK, MESSAGES}
    if folder.exists() and any(entry.name not in ours for entry in folder.iterdir()):
        raise UsageError(f"{folder} holds something else.", fix="Choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    yield open_desks(folder / DESKS, progress)
    yield open_records(folder / RECORDS, progress)
    yield open_handbook(folder / HANDBOOK, progress)


def open_desks(folder: Path, progress: Progress = SILENT) -> Project:
    """The first job at `folder`: a passenger's message, and the desk that answers it.

    Made when it is not there, from a CSV file beside it; opened when it is.
    """
    if (folder / CONFIG_FILE).exists():
        return open(folder)
    file = folder.parent / MESSAGES
    rows = _tickets()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "message", "desk"])
    table.writerows([row["id"], row["message"], row["record"]["desk"]] for row in rows)
    write_atomic(file, text.getvalue())
    choices = Choices(data=file, input=["message"], output=["desk"], id="id")
    made = create(draft("ferry-desks", choices, progress), folder=folder, progress=progress)
    settings = {
        "data.holdout_rows": DESKS_ROWS,
        "data.split.holdout": HOLDOUT,
        "data.split.validation": DESKS_ROWS / 2 / (len(rows) - DESKS_ROWS),
        "candidates": ["prompt"],  # what trains nothing takes part unasked
    }
    _change(made.root / CONFIG_FILE, settings)
    return open(folder)


def _tickets() -> list[dict[str, Any]]:
    lines = (builtin.folder() / "tickets.jsonl").read_text(encoding="utf-8").splitlines()
    return [json_reader.read(line) for line in lines]


def open_records(folder: Path, progress: Progress = SILENT) -> Project:
    """The second job at `folder`: a message and its record. Made when it is not there, else opened.

    Raises:
        UsageError: something else is at `folder`.
    """
    if (folder / CONFIG_FILE).exists():
        return open(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} already exists and is not a project.", fix="Choose another folder."
        )
    if folder.exists():
        folder.rmdir()
    choices = Choices(
        data=builtin.folder() / "tickets.jsonl",
        input=["message"],
        output=["record"],
        id="id",
    )
    made = create(draft("ferry", choices, progress), folder=folder, progress=progress)
    path = made.root / CONFIG_FILE
    _change(path, _settings(EFFORTS[0]))
    whole = open(folder)
    effort = _affordable(whole.config, whole.sizes(progress))
    if effort != EFFORTS[0]:
        progress.say(
            "On this machine the full demo would take longer than ten minutes: the demo trains "
            f"{effort.epochs} times on {effort.train_rows or 'all'} rows and measures on "
            f"{effort.holdout_rows}."
        )
        _change(path, _settings(effort))
    return open(folder)


def open_handbook(folder: Path, progress: Progress = SILENT) -> Project:
    """The third job at `folder`: questions on the company's handbook.

    Made when it is not there, opened when it is.

    Raises:
        UsageError: something else is at `folder`.
    """
    if (folder / CONFIG_FILE).exists():
        return open(folder)
    choices = Choices(
        data=builtin.folder() / "questions.jsonl",
        input=["question"],
        output=["answer"],
        id="id",
        document="document",
        docs=builtin.folder() / "handbook",
        abstain=builtin.ABSTAIN,
        task="text",
    )
    made = create(draft("ferry-handbook", choices, progress), folder=folder, progress=progress)
    rows = len(list(builtin.folder().joinpath("questions.jsonl").open(encoding="utf-8")))
    settings = {
        "data.holdout_rows": HANDBOOK_ROWS,
        "data.split.holdout": HOLDOUT,
        "data.split.validation": HANDBOOK_ROWS / 2 / (rows - HANDBOOK_ROWS),
        "candidates": ["prompt", "rag"],
        "knowledge.ks": [1],
    }
    _change(made.root / CONFIG_FILE, settings)
    return open(folder)


def _affordable(config: Config, sizes: Sizes) -> Effort:
    """The best effort that this machine has the time for, else the last."""
    names = taking_part(config)
    pool = sizes.train + sizes.validation
    for effort in EFFORTS:
        validation = round(effort.validation * pool)
        less = replace(
            sizes,
            train=min(pool - validation, effort.train_rows or pool),
            validation=validation,
            holdout=effort.holdout_rows,
        )
        tune = config.fine_tune.model_copy(update={"epochs": effort.epochs, "seeds": 1})
        shown = config.few_shot.model_copy(update={"ks": [*effort.ks]})
        shorter = config.model_copy(update={"fine_tune": tune, "few_shot": shown})
        if estimate(shorter, less, names, 1.0).seconds <= BUDGET_S:
            return effort
    return EFFORTS[-1]


def _settings(effort: Effort) -> dict[str, Any]:
    """Those that `init` would not propose: fewer rows to answer, fewer things tried."""
    return {
        "data.holdout_rows": effort.holdout_rows,
        "data.split.holdout": HOLDOUT,
        "data.train_rows": effort.train_rows,
        "data.split.validation": effort.validation,
        "few_shot.ks": [*effort.ks],
        "fine_tune.epochs": effort.epochs,
        "fine_tune.seeds": 1,
    }


def _change(path: Path, settings: Mapping[str, Any]) -> None:
    write_atomic(path, edit(path.read_text(encoding="utf-8"), settings))
