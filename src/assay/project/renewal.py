"""A new holdout of new examples, brought by somebody: refused while work rests on the old one."""

from __future__ import annotations

from pathlib import Path

from assay.data.split import SplitManifest
from assay.errors import DataError
from assay.progress import SILENT, Progress
from assay.project.jobs import COMPARE, training
from assay.project.queueing import refuse_second
from assay.project.rows import project_of
from assay.project.workspace import Workspace
from assay.store.audit import audit

RESTS = {
    COMPARE: "a comparison",
    training.TRAIN: "a training",
    training.SWEEP: "a search",
    training.CURVE: "a learning curve",
}
"""Kinds of jobs that work on a division."""


def renew(
    workspace: Workspace, name: str, file: Path, progress: Progress = SILENT
) -> SplitManifest:
    """Lock a new holdout, see `Project.renew_holdout`.

    Args:
        name: what the file's owner calls it.

    Raises:
        StateError: work on the present one is not over.
        DataError: the file cannot be used.
    """
    project = project_of(workspace)
    for kind, what in RESTS.items():
        refuse_second(workspace, kind, what)
    project.split(progress)
    try:
        manifest = project.renew_holdout(file, progress)
    except DataError as error:
        error.calling(str(file), name)
        raise
    told = {"rows": manifest.holdout, "generation": manifest.generation}
    audit(workspace.store, workspace.name, workspace.who, "data.renew-holdout", name[:200], told)
    return manifest
