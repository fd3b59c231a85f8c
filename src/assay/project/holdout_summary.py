"""How a project's examples are divided, in figures."""

from __future__ import annotations

from dataclasses import dataclass

from assay.data.split import SplitManifest, read_manifest
from assay.errors import DataError, HoldoutError
from assay.progress import SILENT, Progress
from assay.project.workspace import Workspace, project_of


@dataclass(frozen=True, slots=True)
class HoldoutSummary:
    """How the examples are divided, without a word of the holdout.

    Attributes:
        openings: how often the present holdout was opened.
    """

    manifest: SplitManifest
    openings: int


def describe_holdout(workspace: Workspace, progress: Progress = SILENT) -> HoldoutSummary:
    """The division, made first if need be.

    Raises:
        AssayError: as `Project.split`.
    """
    project = project_of(workspace)
    return HoldoutSummary(project.split(progress), len(project.openings()))


def describe_present_holdout(workspace: Workspace) -> HoldoutSummary | None:
    """The division as it was made last, though files or settings may no longer fit it; None where
    there is none, or it cannot be read."""
    project = project_of(workspace)
    try:
        return HoldoutSummary(read_manifest(project.split_folder), len(project.openings()))
    except (DataError, HoldoutError):
        return None
