"""A comparison keeps what it was requested with, so that neither an edit nor a pause loses it.

The settings, the split and new files of documents are copied when it is requested (by a worker of
another machine, when it takes the job for the first time), and read from the copy whenever it is
taken up. The documents that are indexed are kept as they are (`kept_documents`). The copy, which
has the holdout, goes when the job is over (`begun_copies`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.agent.versions import AgentVersion, find_version
from assay.candidates.registry import needs_documents
from assay.candidates.shared.documents import document_files
from assay.config import CONFIG_FILE
from assay.data.split import LOCK, SplitManifest, read_manifest
from assay.errors import NotFoundError
from assay.knowledge.fixed_base import FixedBase
from assay.knowledge.sources import SourceFile
from assay.progress import SILENT, Progress
from assay.project.begun_copies import DOCUMENTS, DRAFT, LIST, copy_of
from assay.project.kept_documents import keep_by, pin_of
from assay.project.project import Project
from assay.project.workspace import Workspace, project_of
from assay.store.files import said_when_full, sha256_file, write_json
from assay.store.store import Store

_BASIS = "basis.json"


class BegunProject(Project):
    """A project as it was when a job on it began, whatever has been edited since."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        text = (folder / CONFIG_FILE).read_text(encoding="utf-8")
        super().__init__(workspace.root, text, lambda: workspace.store)
        now = workspace.config or self.config  # what programs may do is not the copy's to say
        self.config = self.config.model_copy(update={"mcp": now.mcp})
        self._folder, self.pin = folder, pin_of(folder.name)
        listed = folder / DOCUMENTS / LIST
        if listed.exists():  # not in older copies
            self.document_files = tuple(
                SourceFile(one["document"], listed.parent / one["copy"], origin=Path(one["file"]))
                for one in json_reader.read(listed.read_text(encoding="utf-8"))
            )

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


def begin(workspace: Workspace, job: str, agents: Sequence[str] = ()) -> BegunProject:
    """What a job is made on; copied now where there is no copy yet.

    Args:
        agents: `NAME@VERSION` of saved agents that take part.

    Raises:
        DataError, HoldoutError: the examples cannot be divided.
        ConfigError: a path of documents is not there, and a candidate needs documents.
        StoreError: the disk is full. As all of them, it leaves a draft for `begun_copies.end`.
    """
    folder = copy_of(workspace, job)
    if not folder.exists():
        draft = folder.with_suffix(DRAFT)
        saved = [find_version(workspace.store, label) for label in agents]
        with said_when_full(draft):
            while not _copy(workspace, draft, saved, pin_of(job)):
                pass
        draft.rename(folder)
    return BegunProject(workspace, folder)


def _copy(workspace: Workspace, draft: Path, saved: Sequence[AgentVersion], pin: str) -> bool:
    """Whether the settings and the split that were copied belong together: another process may have
    divided by others between."""
    shutil.rmtree(draft, ignore_errors=True)
    project = project_of(workspace)
    files = _document_files(project)  # first: a path that is not there costs no copy
    manifest = project.split()
    draft.mkdir(parents=True)
    (draft / CONFIG_FILE).write_text(project.text, encoding="utf-8")
    split = project.split_folder  # may wait for the lock
    with workspace.store.lock(LOCK):  # nobody divides anew at this moment
        shutil.copytree(split, draft / "split")
    keep_by(pin, project, saved)
    _copy_documents(project, files, draft / DOCUMENTS, pin)
    return read_manifest(draft / "split").files == manifest.files


def _document_files(project: Project) -> list[SourceFile]:
    """The files that are there for the knowledge base of a project.

    Raises:
        ConfigError: a path is not there, and a candidate needs documents.
    """
    section = project.config.knowledge
    if section is None:
        return []
    found, _ = document_files(section, project.root, required=needs_documents(project.config))
    return found


def _copy_documents(project: Project, found: Sequence[SourceFile], folder: Path, pin: str) -> None:
    """Copy the files that the comparison would add to its knowledge base."""
    folder.mkdir()
    section, listed = project.config.knowledge, list[dict[str, str]]()
    if section is not None:
        known = {}
        with suppress(NotFoundError):
            base = FixedBase(project.store, project.owner, section.name, pin)
            known = {document.path: document.sha256 for document in base.documents()}
        for number, one in enumerate(found):
            if known.get(one.document) != sha256_file(one.file):
                copy = f"{number}{one.file.suffix}"
                shutil.copyfile(one.file, folder / copy)
                listed.append({"document": one.document, "copy": copy, "file": str(one.file)})
    write_json(folder / LIST, listed)
