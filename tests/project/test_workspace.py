"""State is found in a project and in a server's folder, and belongs to whom it should."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.small import small_project

from assay import project
from assay.config import CONFIG_FILE
from assay.errors import ConfigError, UsageError
from assay.project.workspace import open_to_serve
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


def test_a_server_comes_up_with_the_last_configuration_that_could_be_used(tmp_path: Path) -> None:
    made = small_project(tmp_path)
    file = made.root / CONFIG_FILE
    good = file.read_text(encoding="utf-8")
    assert open_to_serve(made.root).broken is None
    for broken in ("name: [", good.replace("task:", "tsk:"), good.replace("prompt", "no-such-way")):
        file.write_text(broken, encoding="utf-8")
        served = open_to_serve(made.root)
        assert served.broken is not None
        assert CONFIG_FILE in served.broken or "no-such-way" in served.broken
        assert served.name == "pets"
        assert served.config == served.project.config == made.config  # type: ignore[union-attr]
        with pytest.raises(ConfigError):
            project.open(made.root)
    file.unlink()
    gone = open_to_serve(made.root)
    assert gone.name == "pets"
    assert "is gone" in (gone.broken or "")


def test_any_use_of_the_state_keeps_what_is_good_and_nothing_is_made_up(tmp_path: Path) -> None:
    made = small_project(tmp_path)
    (made.root / ".assay").mkdir(exist_ok=True)
    file = made.root / CONFIG_FILE
    newer = file.read_text(encoding="utf-8") + "# newer\n"
    file.write_text("name: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        open_to_serve(made.root)
    file.write_text(newer, encoding="utf-8")
    assert project.open(made.root).store is not None
    file.write_text("name: [", encoding="utf-8")
    served = open_to_serve(made.root)
    assert served.project is not None
    assert served.project.text == newer
    assert open_to_serve(tmp_path).broken is None
