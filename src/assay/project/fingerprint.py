"""What a comparison begun now would be made on, as one text, so that a change is noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

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

DOCUMENTS, GRADERS, VERSIONED = "documents", "grader_files", "version"
MOST_NAMED = 3
"""Documents that are named where several were changed."""


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
    project = begun or project_of(workspace)
    manifest = project.split()
    return {
        "holdout": manifest.holdout_sha256,
        "train": manifest.train_sha256,
        "validation": manifest.files[VALIDATION],
        "settings": dump_settings(project.config),
        DOCUMENTS: _documents(workspace, project),
        GRADERS: grader_files(project.config, project.root),
        VERSIONED: VERSION,
    }


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two bases, as the beginning of a sentence; empty: nothing does that is
    not copied when a comparison is requested."""
    had, has = before[DOCUMENTS], now[DOCUMENTS]
    changed = sorted(name for name in had.keys() | has.keys() if had.get(name) != has.get(name))
    parts = []
    if len(changed) == 1:
        how = "replaced" if changed[0] in had.keys() & has.keys() else "added"
        how = how if changed[0] in has else "removed"
        parts.append(f"the document {changed[0]} was {how}")
    elif changed:
        named = ", ".join(changed[:MOST_NAMED]) + (", ..." if changed[MOST_NAMED:] else "")
        parts.append(f"{len(changed):,} documents were changed ({named})")
    if before[GRADERS] != now[GRADERS]:
        parts.append("a file of graders was changed")
    if before[VERSIONED] != now[VERSIONED]:
        parts.append(f"Assay was updated from {before[VERSIONED]} to {now[VERSIONED]}")
    return " and ".join(parts)


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
