"""The state of a folder, whether it is an Assay project or only a server's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from assay.agent.versions import user
from assay.config import CONFIG_FILE, STATE_FOLDER
from assay.errors import UsageError
from assay.project.project import Project
from assay.store.store import Store

DEFAULT = "default"
"""Whom things belong to in a folder that is no project."""


@dataclass(frozen=True)
class State:
    """Where the state of a folder is and whose it is.

    Attributes:
        name: the owner of releases, keys, jobs and traces: the folder's name where it is a
            project, else `default`.
    """

    root: Path
    name: str

    @cached_property
    def store(self) -> Store:
        """The database and blobs in `.assay/`."""
        return Store(self.root / STATE_FOLDER)

    @cached_property
    def project(self) -> Project | None:
        """The project in the folder; None where there is no assay.yaml."""
        return Project(self.root) if (self.root / CONFIG_FILE).exists() else None

    @property
    def who(self) -> str:
        """Whose name is put to changes."""
        return user()


def open_state(folder: str | Path) -> State:
    """The state of a project, or of the folder that a server runs in.

    Raises:
        UsageError: the folder holds neither.
    """
    root = Path(folder)
    is_project = (root / CONFIG_FILE).exists()
    if not is_project and not (root / STATE_FOLDER).is_dir():
        raise UsageError(
            "there is no project here, and no state of a server.",
            where=str(root),
            fix="Go to the project's folder, or name it with --project.",
        )
    return State(root, root.resolve().name if is_project else DEFAULT)
