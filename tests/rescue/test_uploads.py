"""Files that a browser brings become the project that the command makes of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.test_file_names import NAMES
from tests.rescue.test_plan import BASE, pairs_of, sentences

from assay.accounts.quota import QuotaError
from assay.errors import DataError, NotFoundError, StateError, UsageError
from assay.jobs import queue
from assay.jobs.worker import Work
from assay.project.jobs import rescue
from assay.project.rescue.files import name_files
from assay.project.rescue.plan import plan_rescue
from assay.project.rescue.uploads import (
    PLAN,
    PROJECTS,
    UPLOADS,
    UploadEntries,
    find_upload,
    keep_model,
    keep_upload,
    list_uploads,
    read_entries,
    remove_upload,
    remove_uploads,
    tuning_files,
)
from assay.project.workspace import Workspace

MODEL = f"ft:{BASE}:acme:pets:x1"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "served").mkdir()
    return Workspace(tmp_path / "served")


@pytest.fixture
def train(tmp_path: Path) -> Path:
    file = tmp_path / "train.jsonl"
    file.write_bytes(sentences(80, seed=3))
    return file


def brought(workspace: Workspace) -> list[str]:
    """All files that are kept, by name."""
    return sorted(path.name for path in (workspace.root / UPLOADS).glob("*/*"))


def work_off(workspace: Workspace) -> dict[str, Any]:
    """Do the job that waits, as a worker does."""
    job = queue.claim(workspace.store, "w", [PLAN])
    assert job is not None
    try:
        made = rescue.WORKS[PLAN](workspace, Work(workspace.store, job, 60.0))
    except BaseException:
        queue.fail(workspace.store, job, "it failed")
        raise
    queue.finish(workspace.store, job, made)
    return made


def test_the_project_is_the_one_that_the_command_makes(
    workspace: Workspace, train: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_MASTER_KEY_FILE", str(tmp_path / "master"))
    held = tmp_path / "valid.jsonl"
    held.write_bytes(sentences(60, seed=4))
    keep_model(workspace, MODEL)
    keep_upload(workspace, "training", "train.jsonl", train)
    keep_upload(workspace, "validation", "valid.jsonl", held)
    rescue.plan_uploads(workspace)
    for change in (
        lambda: keep_model(workspace, "ft:other"),
        lambda: keep_upload(workspace, "training", "train.jsonl", held),
        lambda: remove_upload(workspace, "training"),
        lambda: rescue.plan_uploads(workspace),
    ):
        with pytest.raises(StateError):
            change()
    (one,) = work_off(workspace)["models"]
    (same,) = plan_rescue(None, tmp_path / "home", files=name_files(MODEL, train, held))["models"]
    assert (one["project"], one["holdout"]) == (same["project"], same["holdout"])
    served, typed = workspace.root / PROJECTS / one["project"], tmp_path / "home" / same["project"]
    for file in typed.rglob("*"):
        if file.is_file() and ".assay" not in file.parts:
            assert (served / file.relative_to(typed)).read_bytes() == file.read_bytes()
    # What it was made of is listed, and may go, also where the folder was moved.
    assert read_entries(workspace) == UploadEntries()
    workspace.store.engine.dispose()
    moved = Workspace(workspace.root.rename(tmp_path / "moved"))
    (used,) = list_uploads(moved)
    assert (used.model, used.training and used.training.name) == (MODEL, "train.jsonl")
    assert (rescue.read_rescue(moved).files[MODEL]).is_relative_to(moved.root / PROJECTS)
    # Without an account its answers are kept with the projects, as the command says.
    moved.providers.add("far", {"base_url": "https://far.example/v1"}, "sk-1")
    moved.providers.agree("far")
    assert rescue.draft_answers(moved, "far", MODEL).file == rescue.read_rescue(moved).files[MODEL]
    # Another training file of this model is refused before anything waits; the same goes on.
    keep_model(moved, MODEL)
    keep_upload(moved, "training", "other.jsonl", held)
    with pytest.raises(UsageError, match="another training file"):
        rescue.plan_uploads(moved)
    keep_upload(moved, "training", "again.jsonl", train)
    assert brought(moved) == ["again.jsonl", "train.jsonl", "valid.jsonl"]
    remove_uploads(moved, MODEL)
    assert list_uploads(moved) == []
    assert brought(moved) == ["again.jsonl"]
    rescue.plan_uploads(moved)
    assert [each["project"] for each in work_off(moved)["models"]] == [one["project"]]


def test_what_cannot_be_used_is_refused_and_changes_nothing(
    workspace: Workspace, train: Path, tmp_path: Path
) -> None:
    for name, content, error in (
        ("a.jsonl", b'{"messages": 3}\n' * 9, DataError),
        ("a.jsonl", b"", DataError),
        ("a.jsonl", b"\x00\xff" * 50, DataError),
        ("a.csv", b"a,b\n1,2\n", UsageError),
        ("jsonl", b"a,b\n1,2\n", UsageError),
    ):
        file = tmp_path / "file.jsonl"
        file.write_bytes(content)
        with pytest.raises(error):
            keep_upload(workspace, "training", name, file)
    workspace.quota.most = 100
    with pytest.raises(QuotaError):
        keep_upload(workspace, "training", "a.jsonl", train)
    workspace.quota.most = 10**9
    assert brought(workspace) == []
    for name in ("a\nb", "x" * 301):
        with pytest.raises(UsageError):
            keep_model(workspace, name)
    with pytest.raises(UsageError, match="no training file"):
        rescue.plan_uploads(workspace)
    keep_upload(workspace, "training", "a.jsonl", train)
    with pytest.raises(UsageError, match="no name of a model"):
        rescue.plan_uploads(workspace)
    keep_upload(workspace, "validation", "b.jsonl", train)
    remove_upload(workspace, "training")
    assert brought(workspace) == ["b.jsonl"]
    # A row that cannot be divided is told by the job, and what was brought stays.
    few = tmp_path / "few.jsonl"
    few.write_bytes(pairs_of(sentences(2, seed=1)))
    remove_upload(workspace, "validation")
    keep_upload(workspace, "training", "few.jsonl", few)
    keep_model(workspace, MODEL)
    rescue.plan_uploads(workspace)
    with pytest.raises(DataError) as failed:
        work_off(workspace)
    assert str(workspace.root) not in str(failed.value)
    assert read_entries(workspace).training is not None
    # Nor can a server make it that does not have the files, or an account that took part before.
    listed = workspace.root / PROJECTS / "jobs.jsonl"
    listed.write_text(json.dumps({"account": "/elsewhere"}) + "\n")
    rescue.plan_uploads(workspace)
    with pytest.raises(NotFoundError, match="no fetched account"):
        work_off(workspace)
    rescue.plan_uploads(workspace)
    shutil.rmtree(workspace.root / UPLOADS)
    with pytest.raises(NotFoundError, match="not on the server"):
        work_off(workspace)


def test_no_name_leads_out_of_the_folder(workspace: Workspace, train: Path) -> None:
    for name in NAMES:
        try:
            keep_upload(workspace, "training", f"{name}.jsonl", train)
        except UsageError:  # nothing is left of the name
            continue
        assert len(brought(workspace)) == 1  # the one before is gone
        kept = find_upload(workspace, read_entries(workspace), "training")
        assert kept is not None
        assert kept.path.resolve().parent.parent == workspace.root / UPLOADS
        assert kept.name.isprintable()
        assert not set(kept.name) & {"/", "\\", "<", '"', "'"}
    outside = workspace.root / "rescued" / "outside.jsonl"
    shutil.copy(train, outside)
    entries = workspace.root / UPLOADS / "entries.json"
    for named in ("../outside.jsonl", "x/../outside.jsonl", str(outside)):
        entries.write_text(json.dumps(asdict(UploadEntries(MODEL, named))))
        with pytest.raises(UsageError, match="no training file"):
            tuning_files(workspace, read_entries(workspace))


def test_what_a_killed_server_left_is_removed_by_the_next_upload(
    workspace: Workspace, train: Path
) -> None:
    keep_upload(workspace, "training", "train.jsonl", train)
    left = workspace.root / UPLOADS / "0123456789abcdef" / ".cut.jsonl.1234.part"
    left.parent.mkdir()
    left.write_bytes(b"{")
    keep_upload(workspace, "validation", "valid.jsonl", train)
    assert brought(workspace) == ["train.jsonl", "valid.jsonl"]
