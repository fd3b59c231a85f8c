"""A comparison keeps what it was requested with, so that neither an edit nor a pause loses it.

The settings and the split are copied when it is requested (by a worker of another machine, when it
takes the job for the first time), and read from the copy whenever it is taken up. The copy, which
has the holdout, goes when the job is over.
"""

from __future__ import annotations

import shutil
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.config import CONFIG_FILE, STATE_FOLDER
from assay.data.split import LOCK, SplitManifest, read_manifest
from assay.jobs import queue
from assay.progress import SILENT, Progress
from assay.project.project import Project
from assay.project.workspace import Workspace, project_of
from assay.store.files import write_json
from assay.store.store import Store

BEGUN = "begun"
"""Folder of the copies in `.assay`, one a job."""
_DRAFT = ".draft"
_BASIS = "basis.json"
_YOUNG_S = 3600.0
"""How long a copy stays whose job is not in the queue: `compare` copies first, and then queues."""


class BegunProject(Project):
    """A project as it was when a job on it began, whatever has been edited since."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        text = (folder / CONFIG_FILE).read_text(encoding="utf-8")
        super().__init__(workspace.root, text, lambda: workspace.store)
        now = workspace.config or self.config  # what programs may do is not the copy's to say
        self.config = self.config.model_copy(update={"mcp": now.mcp})
        self._folder = folder

    def note_basis(self, basis: dict[str, Any]) -> None:
        """Keep what the job was requested on, see `assay.project.fingerprint.basis`."""
        write_json(self._folder / _BASIS, basis)

    def read_basis(self) -> dict[str, Any] | None:
        """What `note_basis` kept; None where a worker of another machine has made the copy."""
        path = self._folder / _BASIS
        return json_reader.read(path.read_text(encoding="utf-8")) if path.exists() else None

    @cached_property
    def store(self) -> Store:
        """The project's own. Its settings are not those that are served now, so none are kept."""
        return self._state() if self._state else super().store

    @property
    def split_folder(self) -> Path:
        """The copy of train, validation and the locked holdout."""
        return self._folder / "split"

    def split(self, progress: Progress = SILENT) -> SplitManifest:
        """What the job began with: nothing is divided anew."""
        return read_manifest(self.split_folder)


def begin(workspace: Workspace, job: str) -> BegunProject:
    """What a job is made on; copied now where there is no copy yet.

    Raises:
        DataError, HoldoutError: the examples cannot be divided.
    """
    folder = workspace.root / STATE_FOLDER / BEGUN / job
    if not folder.exists():
        draft = folder.with_suffix(_DRAFT)
        while not _copy(workspace, draft):
            pass
        draft.rename(folder)
    return BegunProject(workspace, folder)


def _copy(workspace: Workspace, draft: Path) -> bool:
    """Whether the settings and the split that were copied belong together: another process may have
    divided by others between."""
    shutil.rmtree(draft, ignore_errors=True)
    project = project_of(workspace)
    manifest = project.split()
    draft.mkdir(parents=True)
    (draft / CONFIG_FILE).write_text(project.text, encoding="utf-8")
    split = project.split_folder  # may wait for the lock
    with workspace.store.lock(LOCK):  # nobody divides anew at this moment
        shutil.copytree(split, draft / "split")
    return read_manifest(draft / "split").files == manifest.files


def end(workspace: Workspace, job: str) -> None:
    """The job is over: remove what it began with."""
    shutil.rmtree(workspace.root / STATE_FOLDER / BEGUN / job, ignore_errors=True)


def remove_left(workspace: Workspace) -> None:
    """Remove the copies of jobs that are over, such as one whose worker died too often."""
    every = (workspace.root / STATE_FOLDER / BEGUN).glob("*")
    copies = [one for one in every if time.time() - _changed(one) > _YOUNG_S]
    if copies:
        alive = {one.id for one in queue.jobs(workspace.store) if one.status not in queue.OVER}
        for copy in copies:
            if copy.name.removesuffix(_DRAFT) not in alive:
                shutil.rmtree(copy, ignore_errors=True)


def _changed(copy: Path) -> float:
    """When it was made (a draft: begun); now, where it has been renamed or removed meanwhile."""
    try:
        return copy.stat().st_mtime
    except FileNotFoundError:
        return time.time()
