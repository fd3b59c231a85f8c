"""The split in a bucket: every server has the same rows, and nobody divides a second time."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from tests.preloaded import run_code
from tests.s3 import S3Server
from tests.small import small_project, write_csv
from tests.store.test_objects import grow_old, opened, unnamed

from assay.compare.holdout import keep_holdout
from assay.data import shared_split
from assay.data.split import load_train, read_manifest, verify_split
from assay.errors import DataError, HoldoutError, ObjectsAwayError, ObjectsError
from assay.project.project import Project
from assay.store import archives, shared_files, unnamed_objects
from assay.store.store import Store

BUCKET = "s3://bkt"
FEW = {
    "  - few-shot-nearest\n  - encoder\n  - fine-tune\n": "",
    "  - prompt\n": "",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project that was not divided yet, without state."""
    made = small_project(tmp_path_factory.mktemp("made"), edit=FEW, tiny_embedder=True)
    made.store.engine.dispose()
    shutil.rmtree(made.root / ".assay")
    return made.root


@pytest.fixture
def bucketed(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    monkeypatch.setenv("ASSAY_OBJECTS", BUCKET)
    return s3


def server(project: Path, root: Path, url: str | None, *, data: bool = True) -> Project:
    """A copy of the folder on another machine."""
    leave = None if data else shutil.ignore_patterns("*.csv", "*.jsonl")
    shutil.copytree(project, root, ignore=leave)
    return Project(root, state=lambda: opened(root / ".assay", BUCKET, url))


def rows(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in project.split_folder.iterdir()}


def test_a_server_with_an_empty_folder_compares_by_the_same_rows(
    project: Path,
    tmp_path: Path,
    bucketed: S3Server,
    empty_postgres: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = server(project, tmp_path / "one", empty_postgres)
    two = server(project, tmp_path / "two", empty_postgres, data=False)
    manifest = one.split()
    assert not (two.root / ".assay" / "split").exists()
    assert two.split() == manifest
    assert rows(two) == rows(one)
    [first] = bucketed.keys("bkt/archives/")
    made = two.compare()
    assert made.result.data.holdout_sha256 == manifest.holdout_sha256
    assert [opening.number for opening in one.openings()] == [1]
    with monkeypatch.context() as away:
        away.setattr("assay.project.project.share", not_reached)
        with pytest.raises(ObjectsAwayError):
            one.compare()
    assert (one.root / "report.html").exists()
    again = one.compare()  # the same comparison, so no further opening
    assert again.result.comparison == made.result.comparison
    assert len(two.openings()) == 1
    new = write_csv(tmp_path / "new.csv", 0)
    with new.open("a") as file:
        file.writelines(f"{3**n:x} {5**n:o} {7**n:x},cat\n" for n in range(20, 60))
    renewed = one.renew_holdout(new)
    assert two.split().holdout_sha256 == renewed.holdout_sha256 != manifest.holdout_sha256
    assert rows(two) == rows(one)
    assert first not in bucketed.keys("bkt/archives/")
    settings = two.root / "assay.yaml"
    settings.write_text(settings.read_text().replace(f"{two.config.data.file}", "mistyped.csv"))
    with pytest.raises(DataError, match="no such file"):
        Project(two.root, state=lambda: two.store).split()


def test_the_holdout_of_a_comparison_elsewhere_stays_while_that_is_made(
    project: Path, tmp_path: Path, bucketed: S3Server, empty_postgres: str
) -> None:
    one = server(project, tmp_path / "one", empty_postgres)
    two = server(project, tmp_path / "two", empty_postgres)
    manifest = one.split()
    assert two.split() == manifest

    def add(word: str) -> str:
        with (two.root / two.config.data.file).open("a") as file:
            file.writelines(f"{word} {3**n:x} {5**n:o} {7**n:x},cat\n" for n in range(20, 60))
        return two.split().holdout_sha256

    with keep_holdout(one.store, one.split_folder, manifest):
        assert add("first") == manifest.holdout_sha256
    assert add("second") != manifest.holdout_sha256


def not_reached(*_: object) -> None:
    raise ObjectsAwayError("the bucket cannot be reached.")


def test_where_it_cannot_be_had_nothing_is_divided(
    project: Path, tmp_path: Path, bucketed: S3Server, empty_postgres: str
) -> None:
    one = server(project, tmp_path / "one", empty_postgres)
    two = server(project, tmp_path / "two", empty_postgres)
    one.split()
    bucketed.before = lambda method, path: 503 if "/archives/" in path else None
    for act in (two.split, lambda: two.split_folder, lambda: two.context()):
        with pytest.raises(ObjectsAwayError, match=r"locked holdout, is in the bucket, which"):
            act()
    assert one.split() == read_manifest(one.split_folder)  # what is here needs no bucket
    bucketed.before = lambda method, path: None
    [key] = bucketed.keys("bkt/archives/")
    data = bucketed.objects.pop(key)
    with pytest.raises(ObjectsError, match="is not in the bucket any more, and there is no copy"):
        two.split()
    assert not (two.root / ".assay" / "split").exists()
    bucketed.objects[key] = data
    assert two.split() == one.split()
    # Not the one that was locked, wherever that was changed.
    (two.split_folder / "holdout.jsonl").write_text("{}\n")
    with pytest.raises(HoldoutError, match="locked holdout was changed"):
        two.split()


def test_one_that_was_made_before_there_was_a_bucket_moves_there(
    project: Path, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "one"
    shutil.copytree(project, root)
    before = Project(root, state=lambda: Store(root / ".assay")).split()
    monkeypatch.setenv("ASSAY_OBJECTS", BUCKET)
    store = opened(root / ".assay", BUCKET)
    shared_split.sweep(store)
    shutil.rmtree(root / ".assay" / "split")
    assert verify_split(shared_split.present_split(store)) == before
    # As after a restore: what is here is the same, and is not fetched.
    shutil.rmtree(root / ".assay" / "cache")
    s3.before = lambda method, path: 503 if "/archives/" in path else None
    assert verify_split(shared_split.present_split(store)) == before
    s3.before = lambda method, path: None
    # And back, over a copy that has changed, which is put aside.
    (root / ".assay" / "split" / "train.jsonl").write_text("")
    assert shared_files.copy_to_folder(store, archives.rows_below(store)) == []
    assert verify_split(root / ".assay" / "split") == before
    assert len(list((root / ".assay").glob("split.moved-*"))) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.project.test_shared_split import BUCKET, opened
from assay.project.project import Project
from assay.store import archives, shared_files

root, url, step = sys.argv[1:]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if step == "divided":
    archives.pack = die
if step == "created":
    archives.name = die
if step == "named":
    shared_files._note = die
path = Path(root)
text = (path / "assay.yaml").read_text().replace("seed: 0", "seed: 1", 1)
Project(path, text, state=lambda: opened(path / ".assay", BUCKET, url)).split()
"""


@pytest.mark.parametrize("step", ["divided", "created", "named"])
def test_a_kill_while_dividing_leaves_one_split(
    project: Path, tmp_path: Path, bucketed: S3Server, empty_postgres: str, step: str
) -> None:
    one = server(project, tmp_path / "one", empty_postgres)
    two = server(project, tmp_path / "two", empty_postgres, data=False)
    before = one.split()
    output = tmp_path / "output"
    killed = run_code(KILLED, str(one.root), empty_postgres, step, output=output)
    assert killed.wait(120) == -signal.SIGKILL, output.read_text()
    seen = two.split()
    assert (seen == before) == (step != "named")
    assert verify_split(one.split_folder) == seen
    assert load_train(one.split_folder) == load_train(two.split_folder)
    grow_old(two.store)
    unnamed_objects.collect(two.store)
    assert (unnamed(two.store), len(bucketed.keys("bkt/archives/"))) == ({}, 1)
