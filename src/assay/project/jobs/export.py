"""Exporting what a project has made, through the parity gate: at once, or as a job.

job = start(workspace, "3f9a01", "gguf")     # a worker writes it into the folder's state
made = exports(workspace)[0]                 # what became of it
for piece in pack(made): ...                 # as a zip, while it is read
"""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.config import CONFIG_FILE, STATE_FOLDER
from assay.errors import NotFoundError, Step, UsageError
from assay.jobs import queue
from assay.jobs.queue import Job
from assay.jobs.worker import Work
from assay.models.stored_versions import versions_folder
from assay.progress import Progress
from assay.project.answer.names import own
from assay.project.export import file_name, find_classifier
from assay.project.jobs.queueing import enqueue_once
from assay.project.versions import SHORT
from assay.release.forms import ONNX, check_form

if TYPE_CHECKING:
    from assay.project.hub_export import HubPush
    from assay.project.project import Project
    from assay.project.workspace import Workspace
    from assay.release.classifier_export import ClassifierExport
    from assay.release.export import ModelExport

EXPORT = "export"
"""Kind of the jobs that export."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was asked for as a job.

    Attributes:
        version: the whole id; `NAME@VERSION` of a classifier.
        folder: where its files are, if it has succeeded and nobody has removed them.
        bytes: of all of them; None: they are not there.
    """

    job: Job
    version: str
    to: str
    folder: Path
    bytes: int | None

    @property
    def name(self) -> str:
        """What was exported, as short as people know it."""
        return self.version if self.to == ONNX else self.version[:SHORT]

    @property
    def file_name(self) -> str:
        """Of its files together, without an ending."""
        return f"{file_name(self.name)}-{self.to}"


def export_from(
    folder: Path, name: str, to: str, out: Path | None, progress: Progress
) -> ModelExport | ClassifierExport:
    """Export from the project in `folder`; see `Project.export`.

    Raises:
        UsageError: it is a server's folder and no project: nothing to judge the version by.
    """
    return _project_of(folder).export(name, to, out, progress)


def export_hub_from(
    folder: Path, name: str, out: Path | None, licence: str | None, progress: Progress
) -> ModelExport:
    """Export for a hub from the project in `folder`; see `hub_export.export_hub`.

    Raises:
        UsageError: as `export_from`.
    """
    from assay.project.hub_export import export_hub

    return export_hub(_project_of(folder), name, out, licence=licence, progress=progress)


def check_push_from(
    folder: Path, name: str, repository: str, out: Path | None, public: bool
) -> str:
    """See that a version of the project in `folder` can be sent to a hub, see
    `hub_export.check_hub_push`; returns the address that it would have.

    Raises:
        UsageError: as `export_from`.
    """
    from assay.models.hub_push import address_of
    from assay.project.hub_export import check_hub_push

    check_hub_push(_project_of(folder), name, repository, out, public=public)
    return address_of(repository)


def push_hub_from(
    folder: Path,
    name: str,
    repository: str,
    out: Path | None,
    licence: str | None,
    public: bool,
    progress: Progress,
) -> HubPush:
    """Export from the project in `folder` and send it to a hub; see `hub_export.push_hub`.

    Raises:
        UsageError: as `export_from`.
    """
    from assay.project.hub_export import push_hub

    return push_hub(
        _project_of(folder),
        name,
        repository,
        out,
        licence=licence,
        public=public,
        progress=progress,
    )


def _project_of(folder: Path) -> Project:
    from assay.project.project import Project

    if not (folder / CONFIG_FILE).exists() and versions_folder(folder / STATE_FOLDER).is_dir():
        raise _no_project(folder)
    return Project(folder)


def start(workspace: Workspace, name: str, to: str) -> Job:
    """Queue an export into the folder's state; see `Project.export`.

    Raises:
        UsageError: the folder is no project, or there is no such form.
        ModelError, NotFoundError: there is no such version or agent, or it has no such form.
        StateError: the same export waits or runs already.
    """
    if workspace.project is None:
        raise _no_project(workspace.root)
    if check_form(to) == ONNX:
        version, _ = find_classifier(workspace.store, workspace.name, name)
    else:
        version = own(workspace, name)
    payload = {"version": version, "to": to}
    action = "version.export"
    return enqueue_once(workspace, EXPORT, "this export", payload, action=action, per_payload=True)


def work(workspace: Workspace, work: Work) -> dict[str, Any]:
    """Do such a job: what it returns is the job's result."""
    project = workspace.project
    if project is None:
        raise _no_project(workspace.root)
    version, to = work.payload["version"], work.payload["to"]
    folder = _folder(workspace, work.job.id)
    shutil.rmtree(folder, ignore_errors=True)  # of a worker that was killed at the very end
    done = project.export(version, to, folder, work)
    for other in exports(workspace):  # an earlier one stays until this one is let pass
        if (other.version, other.to) == (version, to) and other.folder != folder:
            shutil.rmtree(other.folder, ignore_errors=True)
    return {
        "version": version,
        "to": to,
        "files": list(done.files),
        "command": done.command,
        "parity": asdict(done.parity),
    }


def exports(workspace: Workspace) -> list[Export]:
    """Those that were asked for as jobs, the newest first."""
    found = []
    for job in queue.jobs(workspace.store, workspace.name, (EXPORT,)):
        folder = _folder(workspace, job.id)
        size = _bytes(folder) if job.status == "succeeded" else None
        found.append(Export(job, job.payload["version"], job.payload["to"], folder, size))
    return found


def find_finished(workspace: Workspace, job: str) -> Export:
    """The export that a job has made.

    Raises:
        NotFoundError: there is none, or its files are gone.
    """
    for one in exports(workspace):
        if one.job.id == job and one.bytes is not None:
            return one
    raise NotFoundError(f"there is no finished export {job!r}.", fix="Export the version again.")


def pack(export: Export) -> Iterator[bytes]:
    """Its files as a zip, piece by piece; nothing is written, and little is held."""
    root = export.file_name
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(export.folder.iterdir()):
            info = zipfile.ZipInfo.from_file(file, f"{root}/{file.name}")
            with archive.open(info, "w", force_zip64=True) as target, file.open("rb") as content:
                while chunk := content.read(_CHUNK):
                    target.write(chunk)
                    yield pieces.taken()
    yield pieces.taken()


class _Pieces(io.RawIOBase):
    """What a zip is written to: a place that only goes forward, emptied now and then."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held


def _bytes(folder: Path) -> int | None:
    """Of all files; None where there are none."""
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _folder(workspace: Workspace, job: str) -> Path:
    return workspace.store.folder / "exports" / job


def _no_project(folder: Path) -> UsageError:
    return UsageError(
        "the folder is not a project, so it has no grader to check an export with.",
        where=str(folder),
        fix=f"{Step.START_PROJECT}.",
    )
