"""One project for each fine-tuning job of a rescued account, and a page that says what to do next.

    plan = plan_rescue(Path("from-openai"), Path("home"))
    plan["models"][0]["project"], plan["models"][0]["commands"]

A project is the job's files, with its settings where there is an equal here. One that is there
already is left as it is, so the same call may be made again, after a further file has come.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from assay.agent.prices import price_of
from assay.config import CONFIG_FILE, STARTER_MODEL, Provider
from assay.config.yaml_text import edit
from assay.data.propose import Judgement
from assay.errors import AssayError, ModelError, StoreError, UsageError
from assay.progress import SILENT, Progress
from assay.project.project import Project
from assay.project.rescue import OPENAI, describe
from assay.project.rescue_page import commands, write_page
from assay.project.start.creation import create
from assay.project.start.init import Choices, draft
from assay.rescue import account
from assay.rescue.account import read_rows
from assay.rescue.downloads import FILE
from assay.rescue.folder import MANIFEST
from assay.rescue.manifest import Entry, Manifest
from assay.rescue.recording import Recording, recording_file, short_digest, spell
from assay.rescue.report import fine_tuned_models

LEAST_HELD = 50
"""Rows of a validation file that is worth being the holdout."""
_LONGEST = 40
_EQUALS = {"n_epochs": "epochs", "batch_size": "rows_per_step", "beta": "beta", "seed": "seed"}
"""Settings of a job at OpenAI that `fine_tune` has, too."""
_METHODS = {"supervised": "sft", "dpo": "dpo"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a job, and what has become of it.

    Attributes:
        here: the setting of assay.yaml; None: it has no equal.
    """

    name: str
    value: Any
    here: str | None


@dataclass(slots=True)
class PlannedModel:
    """A fine-tuned model, and what is there to replace it.

    Attributes:
        project: name of its folder; None: there is none, because of `reason`.
        holdout: `validation file`, or `drawn` from the training file.
        recording: file of its recorded answers, whether it is there or not; `recorded`: how many.
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
    recording: str = ""
    recorded: int = 0
    is_priced: bool = False


def plan_rescue(
    source: Path, to: Path, *, model: str = STARTER_MODEL, progress: Progress = SILENT
) -> dict[str, Any]:
    """Make the projects and write `plan.md`; returns what the page is made of.

    Args:
        source: a folder that `assay rescue openai` has written.
        to: the folder of the projects; made if there is none.
        model: the language model that they specialise.

    Raises:
        UsageError: `source` is no such folder.
        ModelError: the model is not there.
    """
    if not (source / MANIFEST).exists():
        raise UsageError(
            "this folder holds no account.",
            where=str(source),
            fix="Fetch one with `assay rescue openai --to FOLDER`.",
        )
    manifest = Manifest(source.absolute())
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    jobs = {job.get("id"): job for job in _jobs(manifest)}
    base_url = manifest.account.get("base_url", OPENAI)
    priced = Provider(base_url=base_url, private_network=True)  # nothing is sent there
    planned: list[PlannedModel] = []
    taken: set[str] = set()
    for found in fine_tuned_models(manifest):
        one = PlannedModel(
            *(found[name] for name in ("model", "base", "ends", "ends_according_to", "job"))
        )
        job = jobs.get(one.job, {})
        one.method = found["method"]
        file = recording_file(source, one.model)
        one.recording, one.recorded = str(file), _recorded(file)
        one.is_priced = price_of(priced, one.model).output is not None
        one.settings = list(_settings(job))
        name = _name(one.model, taken)
        one.reason = _why_not(found, manifest)
        if one.reason is None:
            progress.say(f"{one.model}: project {name}")
            try:
                _make(name, to, found, job, manifest, one, model, progress)
            except (ModelError, StoreError):
                raise
            except AssayError as error:
                one.reason = str(error)
        planned.append(one)
    planned.sort(key=lambda one: (one.ends or "9999", one.model))
    plan: dict[str, Any] = {
        "source": str(source.absolute()),
        "base_url": None if base_url == OPENAI else base_url,
        "takes_provider": _takes_provider(base_url),
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


def _takes_provider(base_url: str) -> bool:
    """Whether only a project's provider can be at an address, as in a private network."""
    try:
        describe(base_url)
    except UsageError:
        return True
    return False


def _make(
    name: str,
    to: Path,
    found: Mapping[str, Any],
    job: Mapping[str, Any],
    manifest: Manifest,
    one: PlannedModel,
    model: str,
    progress: Progress,
) -> None:
    """The project of a job, in a folder of that name, unless it is there."""
    folder = to / name
    if not (folder / CONFIG_FILE).exists():
        if os.path.lexists(folder):
            raise UsageError(
                f"{folder} is there and is no project.",
                fix="Move it away, or name another folder with --to.",
            )
        held = _held(manifest, found)
        data = manifest.folder / str(found["training_path"])
        drafted = draft(name, Choices(data=data, holdout=held, model=model), progress=progress)
        # Under a name of its own first: what dies before its settings are in is made anew.
        draft_folder = to / f".{name}.part"
        _remove(draft_folder)
        made = create(drafted, folder=draft_folder, progress=progress)
        path = made.root / CONFIG_FILE
        path.write_text(edit(made.text, _translated(job, drafted.proposal.learns_from)), "utf-8")
        Project(made.root)  # which checks it
        os.replace(draft_folder, folder)
    is_drawn = Project(folder).config.data.holdout is None
    one.holdout = "drawn" if is_drawn else "validation file"
    one.project = name


def _translated(job: Mapping[str, Any], proposed: Judgement) -> dict[str, Any]:
    """Settings of assay.yaml that are equal to the job's."""
    values: dict[str, Any] = {}
    method = _METHODS.get(str(_method(job)))
    if method is not None and proposed != "answers":  # only rows with two answers can be preferred
        values["fine_tune.method"] = method
    for setting in _settings(job):
        if setting.here is not None:
            values[setting.here] = setting.value
    return values


def _settings(job: Mapping[str, Any]) -> Iterator[Setting]:
    """The hyperparameters of a job and its seed, each with its equal here."""
    given = dict(_hyperparameters(job))
    if job.get("seed") is not None:
        given["seed"] = job["seed"]
    for name, value in given.items():
        here = _EQUALS.get(name)
        yield Setting(name, value, f"fine_tune.{here}" if here and _fits(name, value) else None)


def _fits(name: str, value: Any) -> bool:
    """Whether a value of OpenAI's is one here."""
    if value == "auto":
        return name in ("n_epochs", "batch_size")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if name == "beta":
        return value > 0
    return isinstance(value, int) and value >= (name != "seed")


def _hyperparameters(job: Mapping[str, Any]) -> Mapping[str, Any]:
    method = job.get("method")
    if isinstance(method, dict):
        inner = method.get(str(method.get("type")))
        if isinstance(inner, dict) and isinstance(inner.get("hyperparameters"), dict):
            found: dict[str, Any] = inner["hyperparameters"]
            return found
    older = job.get("hyperparameters")
    return older if isinstance(older, dict) else {}


def _method(job: Mapping[str, Any]) -> str | None:
    method = job.get("method")
    return method.get("type") if isinstance(method, dict) else "supervised"


def _why_not(found: Mapping[str, Any], manifest: Manifest) -> str | None:
    """Why there can be no project of a model's job; None where there can."""
    if found["job"] is None:
        return "its job is not on the account's list."
    if found["status"] != "succeeded":
        return f"its job has the status {found['status']}."
    if found["training_path"] is None:
        file = found["training_file"]
        entry = manifest.get(FILE, file) if isinstance(file, str) else None
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
    file = manifest.folder / str(path)
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


def _recorded(file: Path) -> int:
    return len(Recording(file).answers)


def _name(model: str, taken: set[str]) -> str:
    """A folder's name for a model: its suffix and id, or all of it, and a number if need be.

    A name that is cut ends with a digest, so that it is the same whatever other models there are.
    """
    parts = [part for part in model.split(":")[3:] if part] or [model]
    name = spell("-".join(parts))
    if len(name) > _LONGEST:
        digest = short_digest(model)
        name = f"{name[: _LONGEST - len(digest) - 1].strip('-')}-{digest}"
    number, chosen = 1, name
    while chosen in taken:
        number += 1
        chosen = f"{name}-{number}"
    taken.add(chosen)
    return chosen


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
