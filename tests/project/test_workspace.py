"""State is found in a project and in a server's folder, and belongs to whom it should."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.small import small_project

from assay import project
from assay.config import Vllm
from assay.errors import DataError, UsageError
from assay.generate.vllm import VllmServing
from assay.jobs import queue
from assay.jobs.fine_tuning import TRAIN
from assay.store.store import Store

VLLM = Vllm(base_url="http://127.0.0.1:9/v1")


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
    with pytest.raises(UsageError, match=r"stands in its assay\.yaml"):
        project.Workspace(made.root, vllm=VLLM)
    path = made.root / "assay.yaml"
    path.write_text(path.read_text() + f"vllm:\n  base_url: {VLLM.base_url}\n")
    for workspace in (project.open_workspace(made.root), project.Workspace(tmp_path, vllm=VLLM)):
        engines = workspace.engines()
        assert isinstance(engines._language, VllmServing)  # type: ignore[attr-defined]
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
        workspace.trained_on("row-1")
