"""`assay state`: says where state is and moves it to where the settings say."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.command import run
from tests.knowledge.conftest import docs
from tests.knowledge.test_shared_builds import manuals
from tests.many_rows import project as make_project
from tests.models.test_versions import RECORD, adapter
from tests.s3 import S3Server
from tests.store.filled import ROWS, fill

from assay.compare import shared_results
from assay.config.yaml_text import edit
from assay.errors import ConfigError, ObjectsError, StateError, UsageError
from assay.jobs import batch_answers, queue, shared_answers
from assay.jobs.identity import worker_name
from assay.jobs.kept_runs import KeptRuns
from assay.models.versions import load_version, save_version
from assay.progress import SILENT
from assay.project.state_move import account_of, move_state
from assay.project.workspace import Workspace
from assay.store import blobs, stored_files
from assay.store.audit import entries
from assay.store.files import write_atomic
from assay.store.tables import BlobRow, SharedFileRow, TrainedVersionRow

__all__ = ["adapter", "docs"]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASSAY_DATABASE", "ASSAY_OBJECTS", "PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a file, whose settings name no place."""
    root = tmp_path / "served"
    root.mkdir()
    store = make_project(root, 3).store
    stored_files.keep(store, "p", [b"bytes"], "a.txt", "user_data")
    store.engine.dispose()
    return root


def name(root: Path, **places: str) -> None:
    """Let assay.yaml name places."""
    file = root / "assay.yaml"
    lines = file.read_text().split("\nstate:")[0]
    file.write_text(edit(lines, {"state": places}) if places else lines)


def test_state_moves_to_where_the_settings_say_and_back(
    root: Path, s3: S3Server, empty_postgres: str
) -> None:
    here = str((root / ".assay").resolve())
    name(root, database=empty_postgres, objects="s3://bkt")
    with pytest.raises(StateError, match="run `assay state move`"):
        _ = Workspace(root).store
    account = account_of(root)
    assert (account.database, account.objects) == (f"{here}/assay.db", here)
    assert account.moves_database
    assert account.moves_objects
    moved = move_state(root, SILENT)
    assert moved.database is not None
    assert moved.objects is not None
    account = account_of(root)
    assert account.database == account.database_named
    assert not account.unfinished
    assert account.database.endswith(", schema assay_tickets")
    assert (account.files, account.objects) == (1, "s3://bkt")
    assert [path.split(".moved-")[0] for path in account.left] == [
        f"{root}/.assay/assay.db",
        f"{root}/.assay/files",
    ]
    workspace = Workspace(root)
    [file] = stored_files.files(workspace.store, "p")[0]
    with stored_files.on_disk(workspace.store, file) as path:
        assert path.read_bytes() == b"bytes"
    logged = [(one.what, one.details) for one in entries(workspace.store, workspace.name)][:2]
    assert logged == [
        ("files", {"from": here, "to": "s3://bkt"}),
        ("database", {"from": f"{here}/assay.db", "to": account.database}),
    ]
    workspace.store.engine.dispose()
    name(root)
    with pytest.raises(StateError, match="run `assay state move`"):
        _ = Workspace(root).store
    move_state(root, SILENT)
    workspace = Workspace(root)
    with stored_files.on_disk(workspace.store, file) as path:
        assert path == root / ".assay" / "files" / file.id
        assert path.read_bytes() == b"bytes"


def test_a_worker_that_was_heard_of_lately_is_waited_for(
    root: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose connection is broken at this moment, on a machine that is not seen."""
    store = Workspace(root).store
    queue.enqueue(store, "p", "count", {})
    elsewhere = "host:17:4242:0123456789ab:9d1c44aa"
    job = queue.claim(store, elsewhere, ["count"])
    assert job is not None
    store.engine.dispose()
    name(root, database=empty_postgres)
    with pytest.raises(StateError, match=f"{elsewhere}.*Stop all servers and workers"):
        move_state(root, SILENT)
    name(root)
    store = Workspace(root).store
    queue.release(store, job)
    mine = worker_name().split(":")
    dead = ":".join((mine[0], "4194303", *mine[2:]))  # on this machine, and known to be gone
    assert queue.claim(store, dead, ["count"]) is not None
    store.engine.dispose()
    name(root, database=empty_postgres)
    assert move_state(root, SILENT).database is not None


def test_settings_that_cannot_be_read_move_nothing(root: Path, tmp_path: Path) -> None:
    (root / "assay.yaml").write_text("name: [")
    with pytest.raises(ConfigError, match="not known where the state should be"):
        move_state(root, SILENT)
    with pytest.raises(UsageError, match="no state in this folder"):
        account_of(tmp_path)
    assert not (tmp_path / ".assay").exists()


def test_the_command_asks_and_says_what_it_did(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder without assay.yaml, that ASSAY_DATABASE speaks for."""
    store = Workspace(tmp_path).store
    fill(store)
    store.engine.dispose()
    monkeypatch.setenv("ASSAY_DATABASE", empty_postgres.replace("assay@", "assay:word@"))
    folder = ("--folder", str(tmp_path))
    shown = run("state", "show", *folder)
    assert shown.returncode == 0, shown.stderr
    assert "run `assay state move`" in shown.stdout
    assert f"{'traces':24} {ROWS:>10}" in shown.stdout
    refused = run("state", "move", *folder)
    assert refused.returncode == 2
    assert "rows from" in refused.stderr
    assert "Give --yes" in refused.stderr
    moved = run("state", "move", *folder, "--yes")
    assert moved.returncode == 0, moved.stderr
    assert "the same as before by their SHA-256" in moved.stdout
    assert "rm " in moved.stdout
    del os.environ["ASSAY_DATABASE"]
    back = run("state", "move", *folder, "--yes", "--json")
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout)["database"]["target"] == str(tmp_path / ".assay" / "assay.db")
    for said in (shown, refused, moved, back):
        assert "word" not in said.stdout + said.stderr


def test_versions_and_blobs_go_with_the_files(root: Path, s3: S3Server, adapter: Path) -> None:
    store = Workspace(root).store
    id = save_version(store, adapter, RECORD, "p")
    blob = blobs.put(store, b"pool")
    store.engine.dispose()
    for bucket in ("s3://bkt", "s3://one", None):
        name(root, **({} if bucket is None else {"objects": bucket}))
        assert move_state(root, SILENT).objects is not None
        for kind in ("files", "blobs", "versions"):
            shutil.rmtree(root / ".assay" / "cache" / kind, ignore_errors=True)
        store = Workspace(root).store
        version = load_version(store, id)
        assert (version.record, version.owner) == (RECORD, "p")
        weights = "adapter_model.safetensors"
        assert (version.folder / weights).read_bytes() == (adapter / weights).read_bytes()
        assert blobs.get(store, blob) == b"pool"
        assert (root / ".assay" / "versions" / id).exists() == (bucket is None)
        if bucket is not None:
            assert len(s3.keys(f"{bucket[5:]}/versions/")) == 2
            assert len(s3.keys(f"{bucket[5:]}/blobs/")) == 1
        del version
        store.engine.dispose()
    with store.session() as session:
        assert session.scalar(select(TrainedVersionRow.id)) is None
        assert session.scalar(select(BlobRow.sha256)) is None


def test_split_knowledge_and_answers_go_with_the_files(
    root: Path, s3: S3Server, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_results, "SETTLED_S", 0)
    store = Workspace(root).store
    manuals(store).add([docs])
    write_atomic(store.folder / "split" / "manifest.json", "{}")
    write_atomic(store.folder / "split" / "holdout.jsonl", "locked")
    write_atomic(store.folder / "runs" / "key" / "00000.json", "answers")
    for file in ("result.json", "report.html"):
        write_atomic(store.folder / "comparisons" / "id" / file, file)
    store.engine.dispose()
    kept = ("split", "runs", "comparisons", "knowledge")

    def held() -> dict[str, bytes]:
        paths = [path for name in kept for path in (root / ".assay" / name).rglob("*")]
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in paths
            if path.is_file() and path.suffix != ".lock"
        }

    whole = held()
    assert len(whole) > 10
    for bucket in ("s3://bkt", "s3://one", None):
        name(root, **({} if bucket is None else {"objects": bucket}))
        moved = move_state(root, SILENT)
        assert moved.objects is not None
        assert moved.objects.missing == ()
        if bucket == "s3://bkt":
            assert len(s3.keys("bkt/archives/")) == 4
            for folder in kept:
                shutil.rmtree(root / ".assay" / folder)
        assert held() == ({} if bucket else whole)
    with Workspace(root).store.session() as session:
        assert list(session.scalars(select(SharedFileRow))) == []


def test_checkpoints_and_answers_go_to_where_the_work_of_the_folder_finds_them(
    root: Path, s3: S3Server, tmp_path: Path
) -> None:
    name(root, objects="s3://bkt")
    move_state(root, SILENT)
    store = Workspace(root).store
    file = tmp_path / "weights"
    for made in ("whole", "damaged"):
        file.write_bytes(made.encode())
        id = queue.enqueue(store, "p", "train", {})
        job = queue.claim(store, "w", ["train"], id)
        assert job is not None
        folder = store.folder / "work" / made
        folder.mkdir(parents=True)
        files = {"choices.json": file, "checkpoints/step-00000004/weights.safetensors": file}
        KeptRuns(store, job, pytest.fail).keep(folder, files, is_left=lambda: True)
        queue.release(store, job)
        shutil.rmtree(folder)
        answers = batch_answers.new_log(store, "batch_1")
        write_atomic(answers, made)
        shared_answers.share(store, "batch_1", all_but=file)
        answers.unlink()
    store.engine.dispose()
    for key, data in s3.objects.items():
        if b"damaged" in data:
            s3.objects[key] = data.replace(b"damaged", b"changed")
    name(root)
    move_state(root, SILENT)
    work = root / ".assay" / "work"
    for place in ("choices.json", "checkpoints/step-00000004/weights.safetensors"):
        assert (work / "whole" / place).read_bytes() == b"whole"
    assert not (work / "damaged").exists()  # that job begins anew
    [answers] = (work / "batch_1").glob("answers-*.jsonl")  # the others are asked for again
    assert answers.read_text() == "whole"


def test_a_version_that_is_damaged_keeps_all_in_the_bucket(
    root: Path, s3: S3Server, adapter: Path
) -> None:
    name(root, objects="s3://bkt")
    move_state(root, SILENT)
    store = Workspace(root).store
    id = save_version(store, adapter, RECORD)
    store.engine.dispose()
    shutil.rmtree(root / ".assay" / "cache")
    key = next(key for key in s3.keys("bkt/versions/") if "safetensors" in key)
    data, s3.objects[key] = s3.objects[key], b"x" + s3.objects[key][1:]
    name(root)
    with pytest.raises(ObjectsError, match="was changed or damaged"):
        move_state(root, SILENT)
    s3.objects[key] = data
    name(root, objects="s3://bkt")
    store = Workspace(root).store
    assert load_version(store, id).record == RECORD
    store.engine.dispose()


def test_a_version_that_is_gone_is_named_and_ends_no_move(
    root: Path, s3: S3Server, adapter: Path
) -> None:
    name(root, objects="s3://bkt")
    move_state(root, SILENT)
    store = Workspace(root).store
    id = save_version(store, adapter, RECORD)
    store.engine.dispose()
    shutil.rmtree(root / ".assay" / "cache")
    for key in s3.keys("bkt/versions/"):
        del s3.objects[key]
    name(root)
    moved = move_state(root, SILENT).objects
    assert moved is not None
    assert moved.missing == (f"versions/{id}",)
