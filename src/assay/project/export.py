"""Exporting a version of a project, through the parity gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assay.candidates.building import Context
from assay.config import CONFIG_FILE, STATE_FOLDER
from assay.errors import UsageError
from assay.models.versions import load_version, versions_folder
from assay.progress import Progress

if TYPE_CHECKING:
    from assay.release.export import Exported


def export_from(folder: Path, id: str, to: str, out: Path | None, progress: Progress) -> Exported:
    """Export a version of the project in `folder`; see `Project.export`.

    Raises:
        UsageError: it is a server's folder and no project: nothing to judge the version by.
    """
    from assay.project.project import Project

    if not (folder / CONFIG_FILE).exists() and versions_folder(folder / STATE_FOLDER).is_dir():
        raise UsageError(
            "versions were trained here, but this is no project: nothing says how their answers "
            "are judged, and none leaves unjudged.",
            where=str(folder),
            fix="Make a project of examples of the same job (`assay init NAME --data FILE`), copy "
            f"the version's folder from {STATE_FOLDER}/versions into that of the project, and "
            "export it there.",
        )
    return Project(folder).export(id, to, out, progress)


def export_version(context: Context, id: str, to: str, out: Path | None) -> Exported:
    """Write the version into `out` (a folder named after it where None)."""
    from assay.release.export import export

    version = load_version(context.store.folder, id)
    agent = context.chat_agent(model=f"version:{version.id}", system_prompt=context.training_prompt)
    return export(
        version,
        to,
        out or Path(f"{version.id[:12]}-{to}"),
        bench=context.bench,
        agent=agent,
        validation=context.validation,
    )
