"""State is found in a project and in a server's folder, and belongs to whom it should."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.small import small_project

from assay import project
from assay.errors import UsageError
from assay.store.store import Store


def test_a_project_is_its_folder_and_a_servers_folder_is_default(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no project here, and no state"):
        project.open_workspace(tmp_path)
    Store(tmp_path / "served" / ".assay")
    served = project.open_workspace(tmp_path / "served")
    assert (served.name, served.project) == ("default", None)
    made = small_project(tmp_path)
    pets = project.open_workspace(made.root)
    assert pets.name == "pets"
    assert pets.project is not None
    assert pets.store.folder == made.store.folder
