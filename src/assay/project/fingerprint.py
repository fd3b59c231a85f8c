"""What a comparison begun now would be made on, as one text, so that a change is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from assay.agent.passages import knowledge_base
from assay.candidates.shared.documents import document_files
from assay.compare.planning import dump_settings
from assay.data.split import VALIDATION
from assay.errors import NotFoundError
from assay.evaluate.graders.registry import grader_files
from assay.example import canonical_json
from assay.knowledge.sources import SourceFile
from assay.project.project import Project
from assay.project.workspace import Workspace, project_of
from assay.store.files import sha256_file
from assay.version import VERSION

GRADERS, VERSIONED = "grader_files", "version"


def fingerprint(workspace: Workspace, begun: Project | None = None) -> str:
    """The hash of `basis`, whose arguments and errors it has."""
    return fingerprint_of(basis(workspace, begun))


def fingerprint_of(basis: Mapping[str, Any]) -> str:
    """The hash of a basis."""
    return hashlib.sha256(canonical_json(basis).encode()).hexdigest()


def basis(workspace: Workspace, begun: Project | None = None) -> dict[str, Any]:
    """Hashes of examples, settings, documents and files of graders, and the version of Assay.
    Whoever agrees to a comparison agrees to these. A comparison itself does not change them.
    Unlabelled inputs are left out: they may be traces, which come in all the time.

    Args:
        begun: whose examples and settings are meant; None: those that are there now.

    Raises:
        DataError, HoldoutError: the examples cannot be divided.
    """
    return basis_of(begun or project_of(workspace))


def basis_of(project: Project) -> dict[str, Any]:
    """What `basis` says, of a project that was opened."""
    manifest = project.split()
    return {
        "holdout": manifest.holdout_sha256,
        "train": manifest.train_sha256,
        "validation": manifest.files[VALIDATION],
        "settings": dump_settings(project.config),
        "documents": _documents(project),
        GRADERS: grader_files(project.config, project.root),
        VERSIONED: VERSION,
    }


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two bases, as the beginning of a sentence; empty: nothing does that is
    not copied or kept when a comparison is requested."""
    parts = []
    if before[GRADERS] != now[GRADERS]:
        parts.append("a file of graders was changed")
    if before[VERSIONED] != now[VERSIONED]:
        parts.append(f"Assay was updated from {before[VERSIONED]} to {now[VERSIONED]}")
    return " and ".join(parts)


def _documents(project: Project) -> dict[str, str]:
    """The hash of each document that would be searched, by its name: what is in the knowledge base,
    and what a comparison would first read into it."""
    section = project.config.knowledge
    if section is None:
        return {}
    found: dict[str, str] = {}
    with suppress(NotFoundError):
        base = knowledge_base(project.store, project.owner, section.name, pin=project.pin)
        found = {document.path: document.sha256 for document in base.documents()}
    files: Sequence[SourceFile] | None = project.document_files
    if files is None:
        files, _ = document_files(section, project.root, required=False)
    return found | {one.document: sha256_file(one.file) for one in files}
