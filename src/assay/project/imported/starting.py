"""A project of one job: what people have said to be right is measured by, what the model has
answered is learned from.

Recorded answers are no ground truth. Where people have corrected or rated enough of them, those
rows become the holdout, and the other answers training rows of a teacher. Where they have not,
there is no project yet: the inputs are written to be labelled, drawn at random.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.config import STARTER_MODEL
from assay.config.names import check_project_name
from assay.data.dataset import LEAST_ROWS
from assay.data.normal import normalise
from assay.errors import NotFoundError, UsageError
from assay.example import Example, Message
from assay.generate.batch import Answer
from assay.generate.recorded import RecordedAnswer, input_sha256
from assay.progress import SILENT, Progress
from assay.project.imported.job_files import JobFiles
from assay.project.rescue.plan import LEAST_HELD
from assay.project.start.creation import create
from assay.project.start.init import Choices, draft
from assay.project.start.shares import HOLDOUT_ROWS
from assay.quantities import say_count
from assay.release.imported.folder import TraceFolder
from assay.release.imported.jobs import Assignment
from assay.release.imported.raw import time
from assay.release.imported.trace import ImportedTrace
from assay.rescue.folder import RECORDINGS
from assay.rescue.recording import recording_file
from assay.store.files import new_folder, replacing, write_atomic

MADE = ".made.json"
"""In a folder that work of a server has made: what, and which work."""
INPUTS, LABELLED, RECORDED = "inputs.jsonl", "labelled.jsonl", "recorded.jsonl"
MOST_KEPT_OUT = 2000
"""Inputs of a project that it does not learn from, a quarter at most: to be labelled, or to be the
project's unlabelled inputs."""
_ID = re.compile(r"[0-9a-f]{1,12}")


@dataclass(slots=True)
class _Rows:
    """The traces of a job, an input once: the last that people found right, else the last.

    Attributes:
        down: of `others`, those whose last judged answer people found wrong, or that was cut off.
    """

    labelled: dict[str, ImportedTrace] = field(default_factory=dict)
    others: dict[str, ImportedTrace] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    by_model: dict[str, dict[str, ImportedTrace]] = field(default_factory=dict)

    def add(self, trace: ImportedTrace) -> None:
        trace = _unlearned(trace)
        key = input_sha256(_example(trace, trace.answer))
        self.by_model.setdefault(trace.model or "unknown", {})[key] = trace
        said = self.labelled.get(key)
        if trace.thumb == "down" and said is not None and said.right == trace.answer:
            del self.labelled[key]  # one person found right what another found wrong
        if trace.right is not None:
            self.labelled[key] = trace
            self.others.pop(key, None)
            self.down.discard(key)
        elif key not in self.labelled:
            self.others[key] = trace
            if trace.thumb == "down" or trace.cut:
                self.down.add(key)

    def teaches(self, key: str, trace: ImportedTrace) -> bool:
        """Whether nobody has found this answer wrong."""
        if key in self.labelled:
            return self.labelled[key].right == trace.answer
        return key not in self.down


@dataclass(frozen=True, slots=True)
class _Division:
    """The rows of a project. No conversation is in two of `held`, `learned` and `kept_out`, but
    that one may be both held and kept out: what people say in a turn answers for those before it.

    Attributes:
        held, learned: keys of rows; `kept_out`: of inputs without a label, at random.
    """

    held: list[str]
    learned: list[str]
    kept_out: list[str]

    @classmethod
    def of(cls, rows: _Rows) -> _Division:
        labelled = sorted(rows.labelled, key=lambda key: (_group(rows.labelled[key]), key))
        others = sorted(rows.others, key=lambda key: (_group(rows.others[key]), key))
        held = _first_groups(labelled, rows.labelled, _held_count(len(labelled)))
        drawn = _first_groups(others, rows.others, min(MOST_KEPT_OUT, len(others) // 4))
        known = rows.labelled | rows.others
        apart = {_group(known[key]) for key in (*held, *drawn)}
        learned = [
            key
            for key in (*labelled, *others)
            if _group(known[key]) not in apart and key not in rows.down
        ]
        return cls(held, learned, drawn)


def make_project(
    source: Path,
    jobs: Sequence[str],
    to: Path,
    *,
    model: str = STARTER_MODEL,
    until: int | None = None,
    work: str | None = None,
    progress: Progress = SILENT,
) -> JobFiles:
    """Write the project of a job, or without enough labels what is needed for one.

    Args:
        jobs: ids, or how each begins; of several, one project is made.
        to: a folder that is not there yet; its name is the project's.
        model: the language model that is specialised.
        until: bytes of the traces among which the jobs were found; None: those that are there now.
        work: the id of the server's work that makes it; asked again, it is handed what it made.

    Raises:
        NotFoundError: there is no such job.
        UsageError: the folder is there, or its name cannot be a project's.
    """
    if work is not None and (before := _made_before(to, work)):
        return before
    _check_free(to)
    name = to.absolute().name
    check_project_name(name)
    traces = TraceFolder(source)  # which may grow meanwhile
    until = traces.size if until is None else until
    rows = _collect(partial(traces.traces, until), jobs, progress)
    made = JobFiles(str(to), labelled=len(rows.labelled))
    made.corrected = sum(one.corrected is not None for one in rows.labelled.values())
    made.down = len(rows.down)
    divided = _Division.of(rows)
    known = [_row(key, one, one.right) for key, one in sorted(rows.labelled.items())]
    made.reason = _why_not(len(known), len(divided.learned))
    with new_folder(to.absolute(), private=True) as draft_folder:
        if made.reason is None:
            held = [_row(key, rows.labelled[key], rows.labelled[key].right) for key in divided.held]
            made.held, made.project, made.warning = len(held), str(to), _warning(made)
            learned = [_learned(key, rows) for key in divided.learned]
            draft_folder.rmdir()  # a project's folder is made with it
            _create(name, draft_folder, held, learned, model, progress)
        elif known:
            made.labelled_file = str(to / LABELLED)
            _write(draft_folder / LABELLED, known)
        unlabelled = divided.kept_out if made.project else list(rows.others)
        unlabelled.sort(key=lambda key: hashlib.sha256(key.encode()).digest())
        _write_beside(draft_folder, to, rows, unlabelled, made)
        _hide(draft_folder, whole=not made.project)
        if work is not None:
            row = {"work": work, **asdict(made)}
            write_atomic(draft_folder / MADE, json.dumps(row), private=True)
        _check_free(to)  # a folder that has come meanwhile is not replaced
    return made


def _made_before(folder: Path, work: str) -> JobFiles | None:
    """What the same work has made there, before it could say so."""
    try:
        row = json_reader.read((folder / MADE).read_bytes())
        return JobFiles(**row) if row.pop("work") == work else None
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None


def _check_free(to: Path) -> None:
    if to.exists():
        raise UsageError(f"{to} already exists.", fix="Choose another name.")


def _held_count(labelled: int) -> int:
    """Half of the labelled rows, at least as many as a holdout needs, and no more than it uses."""
    return min(labelled, max(LEAST_HELD, min(HOLDOUT_ROWS, labelled // 2)))


def _why_not(labelled: int, learned: int) -> str | None:
    if labelled < LEAST_HELD:
        return (
            f"{say_count(labelled, 'row was', 'rows were')} corrected or rated up, and a holdout "
            f"needs {LEAST_HELD}: what a model answered is no measure of itself."
        )
    if learned < LEAST_ROWS:
        left = say_count(learned, "row is", "rows are")
        return f"{left} left to learn from beside the holdout; {LEAST_ROWS} are needed."
    return None


def _warning(made: JobFiles) -> str:
    if made.corrected in (0, made.labelled):
        right = "wrong" if made.corrected else "right"
        every = "a correction" if made.corrected else "a thumb up"
        return (
            f"every labelled row is {every}, so the recorded model is {right} on all of the "
            "holdout by construction: do not compare with it before rows drawn at random are "
            "labelled."
        )
    return (
        f"Of the labelled rows, {say_count(made.corrected, 'is a correction', 'are corrections')} "
        f"and {say_count(made.labelled - made.corrected, 'a thumb up', 'thumbs up')}, which alone "
        "decides what the recorded model scores on them. People do not judge at random: what is "
        f"shown on these rows holds for such rows. The first rows of {INPUTS}, once labelled, are "
        "the better holdout."
    )


def _create(
    name: str,
    folder: Path,
    held: list[dict[str, Any]],
    learned: list[dict[str, Any]],
    model: str,
    progress: Progress,
) -> None:
    with tempfile.TemporaryDirectory(prefix="assay-traces-") as scratch:
        data, holdout = Path(scratch) / RECORDED, Path(scratch) / LABELLED
        _write(data, learned)
        _write(holdout, held)
        drafted = draft(name, Choices(data=data, holdout=holdout, model=model), progress=progress)
        create(drafted, folder=folder, progress=progress)


def _collect(
    traces: Callable[[], Iterator[ImportedTrace]], jobs: Sequence[str], progress: Progress
) -> _Rows:
    assignment = Assignment(traces(), progress)
    ids = {assignment.job_of(trace) for trace in traces()}
    wanted: set[str] = set()
    for job in jobs:
        found = {id for id in ids if _ID.fullmatch(job) and id.startswith(job)}
        if len(found) != 1:
            several = f"several jobs begin with {job!r}." if found else f"there is no job {job!r}."
            raise NotFoundError(several, fix="`assay traces jobs` shows them.")
        wanted |= found
    rows = _Rows()
    for trace in traces():
        if assignment.job_of(trace) in wanted:
            rows.add(trace)
    return rows


def _write_beside(
    folder: Path, to: Path, rows: _Rows, unlabelled: Sequence[str], made: JobFiles
) -> None:
    """The inputs without a label, and a recording of each model; named as they will be in `to`."""
    if unlabelled:
        below = Path("data", INPUTS) if made.project else Path(INPUTS)
        made.inputs_file = str(to / below)
        inputs = (_row(key, rows.others[key], None) for key in unlabelled)
        made.inputs = _write(folder / below, inputs)
    for model, answered in sorted(rows.by_model.items()):
        file = recording_file(folder, model)
        shown_in = () if made.project else answered  # a project has its rows to learn from
        lines = (
            _recorded(key, one, model, shown=key in shown_in and rows.teaches(key, one))
            for key, one in answered.items()
        )
        shown = to / file.relative_to(folder.resolve())
        made.recordings[str(shown)] = _write(file, lines)


def _hide(folder: Path, *, whole: bool) -> None:
    """Keep texts of users to this user, and out of a repository."""
    os.chmod(folder, 0o700)
    for one in (folder,) if whole else (folder / "data", folder / RECORDINGS):
        if one.is_dir():
            write_atomic(one / ".gitignore", "*\n", private=True)


def _recorded(key: str, trace: ImportedTrace, model: str, *, shown: bool) -> dict[str, Any]:
    at = time(trace.at)
    return RecordedAnswer(
        id=f"trace-{key[:12]}",
        part="data",
        input_sha256=key,
        request_sha256=key,  # how it was asked beside that is not known
        model=model,
        base_url="assay traces import",
        answer=Answer(
            trace.answer.text,
            finish="length" if trace.cut else "stop",
            prompt_tokens=trace.prompt_tokens,
            completion_tokens=trace.completion_tokens,
        ),
        at=at.timestamp() if at is not None else 0.0,
        turns=trace.messages if shown else (),
        tools=trace.tools,
        usd=trace.usd,
    ).to_dict()


def _row(key: str, trace: ImportedTrace, answer: Message | None) -> dict[str, Any]:
    """A conversation in OpenAI's form, with its answer or, to be labelled, without."""
    turns = [*trace.messages, *([] if answer is None else [answer])]
    row: dict[str, Any] = {
        "id": f"trace-{key[:12]}",
        "messages": [message.to_dict() for message in turns],
        "group": _group(trace),
    }
    return row | ({"tools": list(trace.tools)} if trace.tools else {})


def _learned(key: str, rows: _Rows) -> dict[str, Any]:
    """A row to learn from: what people found right, else what was answered."""
    if (trace := rows.labelled.get(key)) is not None:
        return _row(key, trace, trace.right)
    return _row(key, rows.others[key], rows.others[key].answer)


def _unlearned(trace: ImportedTrace) -> ImportedTrace:
    """The trace without earlier answers to learn from: each is the answer of a trace of its own."""
    turns = (replace(one, trained=one.role != "assistant") for one in trace.messages)
    return replace(trace, messages=tuple(turns))


def _group(trace: ImportedTrace) -> str:
    """Of its conversation, which is logged once a turn with all that came before: how it began."""
    begun = normalise(trace.first_input)
    return hashlib.sha256(begun.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _first_groups(keys: list[str], of: dict[str, ImportedTrace], least: int) -> list[str]:
    """The first keys, so many at least if there are, and the others of the last one's group."""
    end = least
    while 0 < end < len(keys) and _group(of[keys[end]]) == _group(of[keys[end - 1]]):
        end += 1
    return keys[:end]


def _example(trace: ImportedTrace, answer: Message) -> Example:
    return Example("", (*trace.messages, answer), tools=trace.tools)


def _write(file: Path, rows: Iterable[dict[str, Any]]) -> int:
    counts: Counter[str] = Counter()
    with replacing(file, private=True) as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            counts["rows"] += 1
    return counts["rows"]
