"""What a comparison begun now would be made on, as one text, so that a change is noticed."""

from __future__ import annotations

import hashlib
import os

from assay.compare.planning import dump_settings
from assay.config.names import file_of
from assay.data.split import VALIDATION
from assay.evaluate.graders.registry import grader_files
from assay.example import canonical_json
from assay.knowledge.sources import sources
from assay.project.knowledge import documents
from assay.project.project import Project
from assay.project.workspace import Workspace, project_of
from assay.store.files import sha256_file
from assay.version import VERSION


def fingerprint(workspace: Workspace, begun: Project | None = None) -> str:
    """Of examples, settings, documents, files of graders and the version of Assay. Whoever agrees
    to a comparison agrees to these. A comparison itself does not change it. Unlabelled inputs are
    left out: they may be traces, which come in all the time.

    Args:
        begun: whose examples and settings are meant; None: those that are there now.

    Raises:
        DataError, HoldoutError: the examples cannot be divided.
    """
    project = begun or project_of(workspace)
    manifest = project.split()
    value = {
        "holdout": manifest.holdout_sha256,
        "train": manifest.train_sha256,
        "validation": manifest.files[VALIDATION],
        "settings": dump_settings(project.config),
        "documents": _documents(workspace, project),
        "grader_files": grader_files(project.config, project.root),
        "version": VERSION,
    }
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _documents(workspace: Workspace, project: Project) -> dict[str, str]:
    """The hash of each document that would be searched, by its name: what is in the knowledge base,
    and what a comparison would first read into it."""
    section = project.config.knowledge
    if section is None:
        return {}
    found: dict[str, str] = {}
    if section.name in documents.names(workspace):
        base = documents.base(workspace, section.name)
        found = {document.path: document.sha256 for document in base.documents()}
    files, _ = sources(file_of(path, project.root) for path in section.paths)
    named = {os.path.relpath(one.document, project.root): one.file for one in files}
    return found | {name: sha256_file(file) for name, file in named.items()}
