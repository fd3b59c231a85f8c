"""State is found in a project and in a server's folder, and belongs to whom it should."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.small import small_project

from assay import project
from assay.config import CONFIG_FILE, Vllm
from assay.errors import ConfigError, DataError, UsageError
from assay.generate.fallback import FallbackEngine
from assay.generate.vllm.pool import VllmPool
from assay.jobs import queue
from assay.jobs.fine_tuning import TRAIN
from assay.project.workspace import open_to_serve
from assay.store.store import Store

VLLM = Vllm(base_url="http://127.0.0.1:9/v1")


def test_a_project_is_its_folder_and_a_servers_folder_is_default(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no project here, and no server"):
        project.open_workspace(tmp_path)
    Store(tmp_path / "served" / ".assay")
    served = project.open_workspace(tmp_path / "served")
    assert (served.name, served.project) == ("default", None)
    made = small_project(tmp_path)
    pets = project.open_workspace(made.root)
    assert pets.name == "pets"
    assert pets.project is not None
    assert pets.store.folder == made.store.folder
    with pytest.raises(UsageError, match=r"set in its assay\.yaml"):
        project.Workspace(made.root, vllm=VLLM)
    path = made.root / "assay.yaml"
    path.write_text(path.read_text() + f"vllm:\n  base_url: {VLLM.base_url}\n")
    for workspace in (project.open_workspace(made.root), project.Workspace(tmp_path, vllm=VLLM)):
        engines = workspace.engines()
        assert isinstance(engines._language, VllmPool)  # type: ignore[attr-defined]
        engines.close()


def test_a_training_that_runs_is_seen_and_its_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.project.workspace.LOOK_AGAIN_S", 0.0)
    workspace = project.Workspace(tmp_path)
    seen = [workspace._trains()]
    queue.enqueue(workspace.store, "default", TRAIN, {})
    seen.append(workspace._trains())  # it waits
    job = queue.claim(workspace.store, "worker", [TRAIN])
    assert job is not None
    seen.append(workspace._trains())
    queue.finish(workspace.store, job, {})
    seen.append(workspace._trains())
    assert seen == [False, False, True, False]


def test_rows_of_versions_are_found_by_hash_in_a_folder_that_is_no_project(tmp_path: Path) -> None:
    workspace = project.Workspace(tmp_path)
    with pytest.raises(DataError, match="no example 'row-1'"):
        workspace.find_uses("row-1")


def test_a_server_comes_up_with_the_last_configuration_that_could_be_used(tmp_path: Path) -> None:
    made = small_project(tmp_path)
    file = made.root / CONFIG_FILE
    good = file.read_text(encoding="utf-8")
    assert open_to_serve(made.root).broken is None
    for broken in (
        "name: [",
        good.replace("task:", "tsk:"),
        good.replace("prompt", "no-such-candidate"),
    ):
        file.write_text(broken, encoding="utf-8")
        served = open_to_serve(made.root)
        assert served.broken is not None
        assert CONFIG_FILE in served.broken or "no-such-candidate" in served.broken
        assert served.name == "pets"
        assert served.config == served.project.config == made.config  # type: ignore[union-attr]
        with pytest.raises(ConfigError):
            project.open(made.root)
    file.unlink()
    gone = open_to_serve(made.root)
    assert gone.name == "pets"
    assert "is missing" in (gone.broken or "")


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


def test_who_answers_follows_a_changed_configuration_for_engines_and_budgets_alike(
    tmp_path: Path,
) -> None:
    made = small_project(tmp_path)
    file = made.root / CONFIG_FILE
    before = file.read_text(encoding="utf-8")
    near = "smollm2-135m-instruct"
    workspace = project.Workspace(made.root)
    engines = workspace.engines()
    assert workspace.chain(near) == [near]
    assert "far" not in workspace.providers
    far = "providers:\n  far: {base_url: https://far.example.com/v1}\n"
    file.write_text(f"{before}{far}fallback:\n  {near}: [remote:far/m]\n", encoding="utf-8")
    assert workspace.chain(near) == [near, "remote:far/m"]
    assert list(engines.engine(near)._chain) == workspace.chain(near)  # type: ignore[attr-defined]
    assert workspace.providers["far"].origin == "https://far.example.com:443"
    file.write_text(before, encoding="utf-8")
    assert not isinstance(engines.engine(near), FallbackEngine)
    assert "far" not in workspace.providers
    ring = f"{before}fallback:\n  a: [b]\n  b: [a]\n"
    file.write_text(ring, encoding="utf-8")
    with pytest.raises(ConfigError, match="falls back to itself"):
        project.Workspace(made.root).engines()
    engines.close()
