"""One project for each fine-tuning job of a rescued account, and a page that says what to do next.

    plan = plan_rescue(Path("from-openai"), Path("home"))
    plan["models"][0]["project"], plan["models"][0]["commands"]

A project is the job's files, with its settings where there is an equal here. One that is there
already is left as it is, so the same call may be made again, after a further file has come.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from assay.agent.prices import price_of
from assay.config import CONFIG_FILE, STARTER_MODEL, Provider
from assay.config.names import file_of
from assay.config.yaml_text import edit
from assay.data.read import detect
from assay.errors import AssayError, ModelError, StateError, StoreError, UsageError
from assay.progress import SILENT, Progress
from assay.project.project import Project
from assay.project.rescue.account import OPENAI, describe
from assay.project.rescue.files import (
    ProjectJob,
    TuningFiles,
    keep_job,
    keep_sources,
    name_project,
    read_job,
    read_sources,
)
from assay.project.rescue.page import commands, write_page
from assay.project.rescue.settings import Setting, settings_of, translate
from assay.project.rescue.successor import CANDIDATES, Successor
from assay.project.start.creation import create
from assay.project.start.init import Choices, draft
from assay.rescue import account
from assay.rescue.account import read_rows
from assay.rescue.downloads import FILE
from assay.rescue.folder import MANIFEST
from assay.rescue.manifest import Entry, Manifest
from assay.rescue.recording import (
    Recording,
    folder_of,
    recording_file,
)
from assay.rescue.report import fine_tuned_models
from assay.store.files import one_at_a_time, sha256_file

LEAST_HELD = 50
"""Rows of a validation file that is worth being the holdout."""
_NOT_HANDED_OVER = ".successor"
"""In a project that was made for a successor, until it has its key and consent, so that a killed
call is made up for, and what is changed later in the project stays."""


@dataclass(slots=True)
class PlannedModel:
    """A fine-tuned model, and what is there to replace it.

    Attributes:
        project: name of its folder; None: there is none, because of `reason`.
        holdout: `validation file`, or `drawn` from the training file.
        successor: the provider's model that takes part in its project; None: none does.
        distills: whether the recorded answers are learned in its project.
        recording: file of its recorded answers, whether it is there or not: the one that its
            project learns from; `recorded`: how many.
        is_priced: whether the price list has it, so that a budget can be kept.
    """

    model: str
    base: str | None
    ends: str | None
    ends_according_to: str
    job: str | None
    method: str | None = None
    project: str | None = None
    reason: str | None = None
    holdout: str | None = None
    settings: list[Setting] = field(default_factory=list)
    successor: str | None = None
    distills: bool = False
    recording: str = ""
    recorded: int = 0
    is_priced: bool = False


def plan_rescue(
    source: Path | None,
    to: Path,
    *,
    model: str = STARTER_MODEL,
    files: TuningFiles | None = None,
    successor: Successor | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Make the projects and write `plan.md`; returns what the page is made of.

    Args:
        source: a folder that `assay rescue openai` has written; None: that of an earlier call, and
            where there was none, answers are recorded in `to`.
        to: the folder of the projects; made if there is none.
        model: the language model that they specialise.
        files: of one model, which count before those of the account; kept for the next call.
        successor: takes part in each project that is made.

    Raises:
        UsageError: `source` is no such folder.
        ModelError: the model is not there.
        StateError: another process makes projects in `to`.
        AssayError: no project can be made of `files`.
    """

    def occupied() -> None:
        raise StateError("another process makes projects here.", where=str(to))

    if source is not None:
        _manifest(source)  # before anything is written
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    with one_at_a_time(to / ".plan.lock", occupied):
        return _plan(source, to, model, files, successor, progress)


def _plan(
    source: Path | None,
    to: Path,
    model: str,
    files: TuningFiles | None,
    successor: Successor | None,
    progress: Progress,
) -> dict[str, Any]:
    sources = read_sources(to)
    loose, source = sources.files, source or sources.account
    manifest = None if source is None else _manifest(source)
    if source is not None:
        sources.account = source.absolute()
    if files is not None:
        loose[files.model] = files
    jobs = {} if manifest is None else {job.get("id"): job for job in _jobs(manifest)}
    base_url = OPENAI if manifest is None else manifest.account.get("base_url", OPENAI)
    priced = Provider(base_url=base_url, private_network=True)  # nothing is sent there
    maker = _ProjectMaker(to, model, successor, progress)
    planned: list[PlannedModel] = []
    taken: set[str] = set()
    for found in _models(manifest, loose):
        one = PlannedModel(
            *(found[name] for name in ("model", "base", "ends", "ends_according_to", "job"))
        )
        job = jobs.get(one.job, {})
        one.method = found["method"]
        one.recording = str(recording_file(to if source is None else source, one.model))
        one.is_priced = price_of(priced, one.model).output is not None
        one.settings = list(settings_of(job))
        name = name_project(one.model, to, taken)
        own = loose.get(one.model)
        one.reason = None if own is not None else _why_not(found, manifest)
        if one.reason is None:
            progress.say(f"{one.model}: project {name}")
            try:
                maker.make(name, partial(_rows_of, found, manifest, own), job, one)
            except (ModelError, StoreError):
                raise
            except AssayError as error:
                if files is not None and files.model == one.model:
                    raise
                one.reason = str(error)
        one.recorded = len(Recording(Path(one.recording)).answers)
        planned.append(one)
    keep_sources(to, sources)
    planned.sort(key=lambda one: (one.ends or "9999", one.model))
    plan: dict[str, Any] = {
        "source": str((source or to).absolute()),
        "base_url": None if base_url == OPENAI else base_url,
        "takes_provider": _takes_provider(base_url),
        "successor": None if successor is None else successor.reference,
        "models": [asdict(one) for one in planned],
        "no_model": [
            {"job": job.get("id"), "status": job.get("status")}
            for job in jobs.values()
            if not job.get("fine_tuned_model")
        ],
    }
    for row in plan["models"]:
        row["commands"] = [] if row["project"] is None else commands(plan, row)
    write_page(to / "plan.md", plan)
    return plan


def _manifest(source: Path) -> Manifest:
    if not (source / MANIFEST).exists():
        raise UsageError(
            "this folder holds no account.",
            where=str(source),
            fix="Name one with --from; `assay rescue openai --to FOLDER` fetches it.",
        )
    return Manifest(source.absolute())


def _models(
    manifest: Manifest | None, loose: Mapping[str, TuningFiles]
) -> Iterator[Mapping[str, Any]]:
    """Each model of an account, then those of which only files are known."""
    seen: set[str] = set()
    for found in fine_tuned_models(manifest) if manifest is not None else ():
        seen.add(found["model"])
        yield found
    for name, files in loose.items():
        if name not in seen:
            yield files.entry


def _takes_provider(base_url: str) -> bool:
    """Whether only a project's provider can be at an address, as in a private network."""
    try:
        describe(base_url)
    except UsageError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Rows:
    """The files of a project: its examples, and a holdout where there is one of its own."""

    training: Path
    held: Path | None


@dataclass(frozen=True, slots=True)
class _ProjectMaker:
    """Makes projects; its attributes are the same for all of them."""

    to: Path
    model: str
    successor: Successor | None
    progress: Progress

    def make(
        self, name: str, rows: Callable[[], _Rows], job: Mapping[str, Any], one: PlannedModel
    ) -> None:
        """The project of a job, in a folder of that name, unless it is there."""
        folder = self.to / name
        if not (folder / CONFIG_FILE).exists():
            self._create(folder, rows(), job, one)
        _check_job(folder, one.model, rows)
        project = Project(folder)
        not_yet = folder / _NOT_HANDED_OVER
        if self.successor is not None and not_yet.exists():
            self.successor.hand_over(project)
            not_yet.unlink()
        config = project.config
        one.holdout = "drawn" if config.data.holdout is None else "validation file"
        one.successor = config.remote if set(CANDIDATES) & set(config.candidates) else None
        one.distills = "distill" in config.candidates
        if config.recorded is not None:
            file = file_of(config.recorded, project.root).resolve()
            if file == recording_file(folder_of(file), one.model):  # `record` can add to it
                one.recording = str(file)
        one.project = name

    def _create(self, folder: Path, rows: _Rows, job: Mapping[str, Any], one: PlannedModel) -> None:
        if os.path.lexists(folder):
            raise UsageError(
                f"{folder} is there and is no project.",
                fix="Move it away, or name another folder with --to.",
            )
        # A recording answers the last turn of each row.
        format = detect(rows.training).format
        choices = Choices(rows.training, holdout=rows.held, model=self.model, format=format)
        drafted = draft(folder.name, choices, progress=self.progress)
        # Under a name of its own first: what dies before its settings are in is made anew.
        draft_folder = self.to / f".{folder.name}.part"
        _remove(draft_folder)
        made = create(drafted, folder=draft_folder, progress=self.progress)
        values = translate(job, drafted.proposal.learns_from)
        if self.successor is not None:
            values |= self.successor.settings_of(made.config)
            (made.root / _NOT_HANDED_OVER).touch()
        values["candidates"] = [*values.get("candidates", made.config.candidates), "distill"]
        values["recorded"] = os.path.relpath(one.recording, folder.resolve())
        path = made.root / CONFIG_FILE
        path.write_text(edit(made.text, values), "utf-8")
        Project(made.root)  # which checks it
        keep_job(made.root, ProjectJob(one.model, sha256_file(rows.training)))
        os.replace(draft_folder, folder)


def _check_job(folder: Path, model: str, rows: Callable[[], _Rows]) -> None:
    """Refuse the project of another training file; one that is gone by now is not looked at.

    Raises:
        UsageError: it is another one's.
    """
    job = read_job(folder)
    if job is None:
        return
    try:
        training = rows().training
        is_other = training.is_file() and sha256_file(training) != job.training_sha256
    except UsageError:
        return
    if is_other:
        raise UsageError(
            f"{folder} is the project of {model} with another training file.",
            where=str(training),
            fix=f"Name that file again, or move {folder} away: it is made anew.",
        )


def _rows_of(found: Mapping[str, Any], manifest: Manifest | None, own: TuningFiles | None) -> _Rows:
    """The files of a job: those that were named, else the account's.

    Raises:
        UsageError: a file that was named is gone.
    """
    if own is not None:
        for name in (own.training, own.validation):
            if name is not None and not Path(name).is_file():
                raise UsageError(
                    "there is no such file any more.", where=name, fix="Name it again with --job."
                )
        training, held = Path(own.training), None
        if own.validation is not None and sha256_file(Path(own.validation)) != sha256_file(
            training
        ):
            held = Path(own.validation)
        return _Rows(training, _large_enough(held))
    assert manifest is not None
    return _Rows(manifest.folder / str(found["training_path"]), _held(manifest, found))


def _why_not(found: Mapping[str, Any], manifest: Manifest | None) -> str | None:
    """Why there can be no project of a model's job; None where there can."""
    if found["job"] is None:
        return "its job is not on the account's list."
    if found["status"] != "succeeded":
        return f"its job has the status {found['status']}."
    if found["training_path"] is None:
        file = found["training_file"]
        entry = manifest.get(FILE, file) if manifest is not None and isinstance(file, str) else None
        why = entry.reason if entry is not None else None
        return f"its training file {file} could not be had: {why or 'it was not fetched.'}"
    return None


def _held(manifest: Manifest, found: Mapping[str, Any]) -> Path | None:
    """The job's validation file, where it can be the holdout: the model was not trained on it."""
    path = found["validation_path"]
    if path is None or _entry(manifest, found, "validation_file").sha256 == (
        _entry(manifest, found, "training_file").sha256
    ):
        return None
    return _large_enough(manifest.folder / str(path))


def _large_enough(file: Path | None) -> Path | None:
    if file is None:
        return None
    with file.open("rb") as lines:
        rows = sum(bool(line.strip()) for line in lines)
    return file if rows >= LEAST_HELD else None


def _entry(manifest: Manifest, found: Mapping[str, Any], name: str) -> Entry:
    entry = manifest.get(FILE, str(found[name]))
    assert entry is not None
    return entry


def _jobs(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for job in read_rows(manifest, account.JOBS.kind, ""):
        if isinstance(job, dict):
            yield job


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
