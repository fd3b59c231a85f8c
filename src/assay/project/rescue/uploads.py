"""Files of fine-tuned models that a browser brings to a server: before their project is made, and
after.

    keep_upload(workspace, "training", "train.jsonl", Path("/tmp/upload"))
    keep_model(workspace, "ft:gpt-4o-mini-2024-07-18:acme::abc")
    entries = read_entries(workspace)
    files = tuning_files(workspace, entries)   # as `assay rescue plan --job` names them
    forget_entries(workspace, entries)         # their project is there
    list_uploads(workspace)                    # what can be removed now

Each upload has a folder of its own, so that none takes another's place. What has been said and
brought for a project that is not there yet is kept beside them; what a project was made of is known
by the list of `files.py`.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from assay import json_reader
from assay.defaults import RESCUED
from assay.errors import StateError, UsageError
from assay.jobs import queue
from assay.jobs.queue import OVER
from assay.project.rescue.files import (
    TuningFiles,
    check_file,
    check_model,
    name_files,
    name_project,
    read_job,
    read_sources,
)
from assay.project.workspace import Workspace
from assay.store.files import replacing, sha256_file, write_json

ACCOUNT, PROJECTS, UPLOADS = f"{RESCUED}/account", f"{RESCUED}/projects", f"{RESCUED}/files"
"""Where the account, the projects of its models and these files are, in the served folder."""
PLAN = "rescue-plan"
"""Kind of the job that makes projects: meanwhile no file comes or goes."""
ENDING = ".jsonl"
Part = Literal["training", "validation"]
PARTS: tuple[Part, ...] = ("training", "validation")
_ENTRIES = "entries.json"
_LOCK = "rescue-files.lock"
_UNSAFE = re.compile(r"[^\w.-]+")
_FOLDER = re.compile(r"[0-9a-f]{16}")
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class UploadEntries:
    """What was said and brought for the next project.

    Attributes:
        model: its name as it was typed.
        training, validation: below `UPLOADS`, as FOLDER/NAME; None: none was brought.
    """

    model: str = ""
    training: str | None = None
    validation: str | None = None


_TYPE = TypeAdapter(UploadEntries)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was brought and is there.

    Attributes:
        name: what its owner calls it, as far as a file can be called so.
    """

    path: Path
    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class UsedUploads:
    """What is still there of the files that a model's project was made of."""

    model: str
    training: Upload | None
    validation: Upload | None


def read_entries(workspace: Workspace) -> UploadEntries:
    """What was kept last; as if nothing was said where it cannot be read."""
    try:
        found = json_reader.read((workspace.root / UPLOADS / _ENTRIES).read_bytes())
        return _TYPE.validate_python(found)
    except (FileNotFoundError, ValueError):
        return UploadEntries()


def find_upload(workspace: Workspace, entries: UploadEntries, part: Part) -> Upload | None:
    """The file that was brought as a part; None: there is none, or it is gone."""
    return _find(workspace, getattr(entries, part))


def keep_model(workspace: Workspace, model: str) -> None:
    """Remember the model's name that was typed.

    Raises:
        UsageError: it is none.
        StateError: projects are being made.
    """
    if model:
        check_model(model)
    with _changing(workspace):
        _keep(workspace, replace(read_entries(workspace), model=model))


def keep_upload(workspace: Workspace, part: Part, name: str, source: Path) -> None:
    """Keep a copy of a file that was brought, in the place of an earlier one of its part.

    Args:
        name: what its owner calls it.

    Raises:
        UsageError: it is no JSONL by its name.
        DataError: it is not of a form that OpenAI takes.
        QuotaError: the project of the server has all that it may have of the disk.
        StateError, StoreError: as `remove_uploads`.
    """
    clean = Path(_UNSAFE.sub("-", Path(name).name).strip(".-"))
    if clean.suffix.lower() != ENDING:
        raise UsageError(f"a training file is JSON Lines: its name ends with {ENDING}.")
    check_file(source)
    size = source.stat().st_size
    with _changing(workspace), workspace.quota.room(workspace.name, size):
        entries = read_entries(workspace)
        _keep(workspace, entries)  # makes the folders
        kept = Path(secrets.token_hex(8), clean.stem[:_LONGEST] + ENDING)
        copied = replacing(workspace.root / UPLOADS / kept, private=True)
        with copied as copy, source.open("rb") as brought:
            shutil.copyfileobj(brought, copy)
        _keep(workspace, _with(entries, part, str(kept)))
        _remove_unused(workspace)


def remove_upload(workspace: Workspace, part: Part) -> None:
    """Remove a file that was brought for the next project; raises as `remove_uploads`."""
    with _changing(workspace):
        _keep(workspace, _with(read_entries(workspace), part, None))
        _remove_unused(workspace)


def tuning_files(workspace: Workspace, entries: UploadEntries) -> TuningFiles:
    """The files of a model, looked at as the command line's are.

    Raises:
        UsageError: no training file was brought, or it is gone; the name is none; or there is a
            project of this model that was made of another file.
        DataError: see `name_files`.
    """
    found = {part: find_upload(workspace, entries, part) for part in PARTS}
    for part in PARTS:
        if found[part] is None and (part == "training" or entries.validation is not None):
            raise UsageError(f"there is no {part} file here.", fix="Choose it first.")
    training, validation = found["training"], found["validation"]
    assert training is not None
    files = name_files(
        entries.model, training.path, None if validation is None else validation.path
    )
    projects = workspace.root / PROJECTS
    folder = name_project(files.model, projects, set())
    job = read_job(projects / folder)
    if job is not None and job.training_sha256 != sha256_file(training.path):
        raise UsageError(
            f"{PROJECTS}/{folder} is the project of this model with another training file.",
            fix="Choose that file, or move the folder away: it is made anew.",
        )
    return files


def forget_entries(workspace: Workspace, entries: UploadEntries) -> None:
    """Begin with nothing, once the project is there; other entries stay."""
    with workspace.store.lock(_LOCK):
        if read_entries(workspace) == entries:
            _keep(workspace, UploadEntries())


def list_uploads(workspace: Workspace) -> list[UsedUploads]:
    """What projects were made of and is still here, by model.

    Raises:
        StoreError: the list of these files is damaged.
    """
    listed = []
    for one in read_sources(workspace.root / PROJECTS).files.values():
        found = [_find(workspace, path) for path in (one.training, one.validation)]
        if any(found):
            listed.append(UsedUploads(one.model, *found))
    return sorted(listed, key=lambda one: one.model)


def remove_uploads(workspace: Workspace, model: str) -> None:
    """Remove the files that a model's project was made of, which has copies of its own.

    Raises:
        StateError, StoreError: as `keep_model` and `list_uploads`.
    """
    with _changing(workspace):
        for one in list_uploads(workspace):
            for file in (one.training, one.validation):
                if one.model == model and file is not None:
                    shutil.rmtree(file.path.parent)


@contextmanager
def entries_to_use(workspace: Workspace) -> Iterator[UploadEntries]:
    """The entries, which nobody changes before a job of them waits; raises StateError where one
    waits or runs."""
    with _changing(workspace):
        yield read_entries(workspace)


@contextmanager
def _changing(workspace: Workspace) -> Iterator[None]:
    with workspace.store.lock(_LOCK):
        jobs = queue.jobs(workspace.store, workspace.name, (PLAN,))
        if any(job.status not in OVER for job in jobs):
            raise StateError("projects are being made.", fix="Wait until that ends, or cancel it.")
        yield


def _with(entries: UploadEntries, part: Part, file: str | None) -> UploadEntries:
    return UploadEntries(**(asdict(entries) | {part: file}))


def _keep(workspace: Workspace, entries: UploadEntries) -> None:
    folder = workspace.root / UPLOADS
    for made in (folder.parent, folder):
        made.mkdir(exist_ok=True, mode=0o700)
    write_json(folder / _ENTRIES, asdict(entries))


def _find(workspace: Workspace, named: str | Path | None) -> Upload | None:
    """A file of `UPLOADS` by its last two names: the served folder may have been moved since."""
    if named is None:
        return None
    folder, name = Path(named).parent.name, Path(named).name
    path = workspace.root / UPLOADS / folder / name
    if not _FOLDER.fullmatch(folder) or not path.is_file():
        return None
    return Upload(path, name, path.stat().st_size)


def _remove_unused(workspace: Workspace) -> None:
    """Also of those that a killed server left unnamed."""
    entries, used = read_entries(workspace), set()
    for part in PARTS:
        if (file := find_upload(workspace, entries, part)) is not None:
            used.add(file.path.parent)
    for one in list_uploads(workspace):
        used |= {file.path.parent for file in (one.training, one.validation) if file is not None}
    for folder in (workspace.root / UPLOADS).iterdir():
        if _FOLDER.fullmatch(folder.name) and folder not in used:
            shutil.rmtree(folder)
