"""The built-in jobs of a ferry operator: messages to desks and to records, handbook questions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from assay import builtin, json_reader
from assay.agent.texts import edit
from assay.candidates.registry import taking_part
from assay.candidates.spec import Sizes
from assay.config import CONFIG_FILE, Config
from assay.errors import UsageError
from assay.progress import SILENT, Progress
from assay.project.estimate import Pace, Work, estimate
from assay.project.forecast import measure_pace, measure_training
from assay.project.project import Project, open
from assay.project.start.creation import create
from assay.project.start.init import Choices, draft
from assay.store.files import write_atomic, write_atomic_lines

RECORDS_S, HANDBOOK_S = 150.0, 110.0
"""What the second and the third job may take: the better effort is given where it is told less."""
HOLDOUT, QUESTIONS_HOLDOUT = 0.2, 0.4
"""Share that is locked away, of messages and of questions, which nothing is trained on; the rows
that the verdict is on are drawn from it."""
DESKS, RECORDS, HANDBOOK = "desks", "records", "handbook"
"""Folders of the jobs, in that of the demo."""
MESSAGES, JOURNEYS, QUESTIONS = "desks.csv", "records.jsonl", "handbook.jsonl"
"""Files of the jobs' examples, beside the folders: such as a user would bring."""
DESKS_ROWS = 160
"""Messages that the first verdict is on; half as many are for validation."""
JOURNEY = ("route", "day", "people")
"""Keys of a record that the second job asks for; the desk is what the first job is about."""
VALIDATION_ROWS, QUESTIONS_VALIDATION_ROWS = 24, 16
"""Of the second job and the third, where little is chosen; speed is measured on them, too."""
RECORD_TOKENS = 28
"""Of a record, at most: the longest that is right has 24."""
QUESTION_PROMPT = (
    "Answer the question in one short sentence, with the number, name or time that is asked for."
)
SENTENCE_WORDS = 30
"""Of an answer to a question, at most: a fact has to be picked, not a page to be read out."""
ANSWER_TOKENS = 24
"""Of such an answer; a model that knows nothing does not stop by itself."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of the second job a machine has the time for: rows of one epoch, and holdout rows.

    With the least of them fine-tuning is still shown to be the best (docs/benchmarks.md#the-demo).
    """

    train_rows: int
    holdout_rows: int


EFFORTS = (Effort(520, 120), Effort(400, 120), Effort(280, 100))
"""The best first; a slow machine, or a busy one, gets a later one."""
ASKED = (120, 80, 40)
"""Questions that the third verdict is on, likewise."""


class DemoJobs:
    """The three jobs at `folder`, cheapest first; each is made when the one before it is done with.

    Args:
        measure: the pace of this machine now, by what share of it this process is given.

    Attributes:
        pace: what is told of the present job with; whoever does a job sets it to the pace that
            the job had.

    Raises:
        UsageError: something else is at `folder`.
    """

    def __init__(
        self,
        folder: Path,
        progress: Progress = SILENT,
        measure: Callable[[], Pace] = measure_pace,
    ) -> None:
        ours = {DESKS, RECORDS, HANDBOOK, MESSAGES, JOURNEYS, QUESTIONS}
        if folder.exists() and any(entry.name not in ours for entry in folder.iterdir()):
            raise UsageError(f"{folder} holds something else.", fix="Choose another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._progress, self._measure = folder, progress, measure
        self.pace = self._share = Pace()

    def __iter__(self) -> Iterator[Project]:
        self.pace = self._share = self._measure()
        yield open_desks(self._folder / DESKS, self._progress)
        self.measure_again()
        yield self._records()
        self.measure_again()
        yield open_handbook(self._folder / HANDBOOK, self._progress, self.pace)

    def measure_again(self) -> None:
        """Turn the pace that a job had into that of the next, beside the load that there is now.

        That of the job itself is taken to be the mean of what was measured before and after it.
        """
        before, now = self._share, self._measure()
        factors = {
            work: self.pace.of(work) * 2 * now.of(work) / (before.of(work) + now.of(work))
            for work in get_args(Work)
        }
        self.pace, self._share = Pace(**factors), now

    def _records(self) -> Project:
        folder = self._folder / RECORDS
        is_new = not (folder / CONFIG_FILE).exists()
        opened = open_records(folder, self._progress)
        if opened.openings():
            return opened
        self._progress.say("Measuring how fast a step of training is here.")
        self.pace = replace(self.pace, training=measure_training(opened))
        # With other rows, what an earlier run has trained would be trained again.
        return fit_records(opened, self.pace, self._progress) if is_new else opened


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


def open_records(folder: Path, progress: Progress = SILENT) -> Project:
    """The second job at `folder`: a message and its record, made where it is not there.

    The best effort is taken, see `fit_records`.

    Raises:
        UsageError: something else is at `folder`.
    """
    if (folder / CONFIG_FILE).exists():
        return open(folder)
    _make_room(folder)
    file = folder.parent / JOURNEYS
    rows = _tickets()
    for row in rows:
        row["record"] = {key: row["record"][key] for key in JOURNEY}
    _write_rows(file, rows)
    choices = Choices(data=file, input=["message"], output=["record"], id="id")
    made = create(draft("ferry", choices, progress), folder=folder, progress=progress)
    _change(made.root / CONFIG_FILE, _settings(EFFORTS[0]))
    return open(folder)


def fit_records(made: Project, pace: Pace, progress: Progress = SILENT) -> Project:
    """The second job with the best effort that there is time for at this pace, else the last."""
    sizes = made.sizes(progress)
    effort = affordable_effort(made.config, sizes, pace)
    if effort != EFFORTS[0]:
        progress.say(
            f"At the speed of this machine now, the second job trains on {effort.train_rows} rows "
            f"and measures on {effort.holdout_rows}."
        )
        _change(made.root / CONFIG_FILE, _settings(effort))
    return open(made.root)


def affordable_effort(config: Config, sizes: Sizes, pace: Pace) -> Effort:
    """The best effort that takes `RECORDS_S` at most, else the last."""
    tried = [replace(sizes, train=e.train_rows, holdout=e.holdout_rows) for e in EFFORTS]
    return EFFORTS[_first_affordable(config, tried, pace, RECORDS_S)]


def _first_affordable(
    config: Config, tried: Sequence[Sizes], pace: Pace | None, seconds: float
) -> int:
    """The place of the first sizes that take so long at most, else of the last."""
    names = taking_part(config)
    for place, sizes in enumerate(tried):
        if estimate(config, sizes, names, 1.0, pace).seconds <= seconds:
            return place
    return len(tried) - 1


def open_handbook(folder: Path, progress: Progress = SILENT, pace: Pace | None = None) -> Project:
    """The third job at `folder`: questions on the company's handbook, made where it is not there.

    What counts is whether the fact that answers a question stands in the answer, one sentence long.
    The questions that the handbook does not answer are left out: whoever always says so would be
    right on them without having read anything.

    Raises:
        UsageError: something else is at `folder`.
    """
    if (folder / CONFIG_FILE).exists():
        return open(folder)
    _make_room(folder)
    file = folder.parent / QUESTIONS
    rows = [row for row in _read_rows("questions.jsonl") if row["document"]]
    _write_rows(file, rows)
    choices = Choices(
        data=file,
        input=["question"],
        output=["answer"],
        id="id",
        document="document",
        docs=builtin.folder() / "handbook",
        task="text",
    )
    made = create(draft("ferry-handbook", choices, progress), folder=folder, progress=progress)
    path = made.root / CONFIG_FILE
    settings = {
        "system_prompt": QUESTION_PROMPT,
        "graders": [
            {"name": "contains", "settings": {"max_words": SENTENCE_WORDS}},
            {"name": "token-f1"},
        ],
        "primary": "contains",
        "data.holdout_rows": ASKED[0],
        "data.split.holdout": QUESTIONS_HOLDOUT,
        "data.split.validation": QUESTIONS_VALIDATION_ROWS / (1 - QUESTIONS_HOLDOUT) / len(rows),
        "candidates": ["prompt", "rag"],
        "knowledge.ks": [1],
        "knowledge.modes": ["hybrid"],
        "generate.max_new_tokens": ANSWER_TOKENS,
    }
    _change(path, settings)
    opened = open(folder)
    sizes = opened.sizes(progress)
    tried = [replace(sizes, holdout=asked) for asked in ASKED]
    asked = ASKED[_first_affordable(opened.config, tried, pace, HANDBOOK_S)]
    if asked != ASKED[0]:
        progress.say(
            f"At the speed of this machine now, the third job measures on {asked} questions."
        )
        _change(path, {"data.holdout_rows": asked})
    return open(folder)


def _make_room(folder: Path) -> None:
    """Let a project be made there.

    Raises:
        UsageError: something else is there.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} already exists and is not a project.", fix="Choose another folder."
        )
    if folder.exists():
        folder.rmdir()
    folder.parent.mkdir(parents=True, exist_ok=True)


def _tickets() -> list[dict[str, Any]]:
    return _read_rows("tickets.jsonl")


def _read_rows(name: str) -> list[dict[str, Any]]:
    lines = (builtin.folder() / name).read_text(encoding="utf-8").splitlines()
    return [json_reader.read(line) for line in lines]


def _write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_atomic_lines(file, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _settings(effort: Effort) -> dict[str, Any]:
    """Those that `init` would not propose: fewer rows to answer, fewer things tried."""
    return {
        "data.holdout_rows": effort.holdout_rows,
        "data.split.holdout": HOLDOUT,
        "data.train_rows": effort.train_rows,
        "data.split.validation": VALIDATION_ROWS / (1 - HOLDOUT) / len(_tickets()),
        "candidates": ["prompt", "fine-tune"],  # what is made in seconds takes part unasked
        "generate.constrained": "on",
        "generate.max_new_tokens": RECORD_TOKENS,
        "fine_tune.epochs": 1,
        "fine_tune.seeds": 1,
    }


def _change(path: Path, settings: Mapping[str, Any]) -> None:
    write_atomic(path, edit(path.read_text(encoding="utf-8"), settings))
