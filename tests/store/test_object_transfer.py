"""Files move to a bucket and back whole, or stay where they are."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.preloaded import run_code
from tests.s3 import S3Server

from assay.errors import ObjectsError, StateError
from assay.progress import SILENT
from assay.store import bucket as buckets
from assay.store import object_transfer, stored_files, uploads
from assay.store.backup import backup
from assay.store.object_place import BEGUN, last_bucket, objects_of
from assay.store.object_transfer import MOVING, ObjectsMove, move_objects
from assay.store.store import Store

CONTENTS = {"empty": b"", "small": b"small", "large": os.urandom(2_500_000)}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "PIECE", 1_000_000)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder with files."""
    store = Store(tmp_path / ".assay")
    for name, data in CONTENTS.items():
        stored_files.keep(store, "p", [data], name, "user_data")
    return store.folder


def opened(state: Path, bucket: str | None) -> Store:
    store = Store(state)
    store.bucket = bucket
    return store


def move(state: Path, bucket: str | None) -> ObjectsMove | None:
    return move_objects(opened(state, bucket), SILENT)


def read(state: Path, bucket: str | None) -> dict[str, str]:
    """The SHA-256 of every file that can be read."""
    store, found = opened(state, bucket), {}
    for file in stored_files.files(store, "p")[0]:
        with stored_files.on_disk(store, file) as path:
            found[file.filename] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


WHOLE = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENTS.items()}


def test_files_go_to_a_bucket_and_back(bucket: str, state: Path, tmp_path: Path) -> None:
    moved = move(state, bucket)
    assert moved is not None
    assert (moved.objects, moved.bytes) == (3, sum(map(len, CONTENTS.values())))
    (kept,) = state.glob("files.moved-*")
    assert f"rm -r {kept}" in moved.left
    assert read(state, bucket) == WHOLE
    shutil.rmtree(state / "cache")
    assert read(state, bucket) == WHOLE
    with pytest.raises(ObjectsError, match="no setting names it any more"):
        read(state, None)
    made = backup(opened(state, bucket), tmp_path / "b.tar")
    assert made.files == 1  # the database: neither what was left nor copies
    shutil.rmtree(kept)

    moved = move(state, None)
    assert moved is not None
    assert f"aws s3 rm --recursive {bucket}" in moved.left
    assert read(state, None) == WHOLE
    assert move(state, None) is None
    with pytest.raises(ObjectsError, match="the files of another folder"):
        move(state, bucket)  # it still has what was left there
    assert read(state, None) == WHOLE


def test_files_go_from_one_bucket_to_another(s3: S3Server, state: Path) -> None:
    move(state, "s3://one")
    assert move(state, "s3://two/below") is not None
    shutil.rmtree(state / "cache", ignore_errors=True)
    assert read(state, "s3://two/below") == WHOLE
    with pytest.raises(ObjectsError, match="the files of another folder"):
        read(state, "s3://one")


def test_files_of_a_state_in_postgresql_go_there(
    s3: S3Server, tmp_path: Path, empty_postgres: str
) -> None:
    stored_files.keep(Store(tmp_path, empty_postgres), "p", [b"x"], "a", "user_data")
    store = Store(tmp_path, empty_postgres)
    store.bucket = "s3://bkt"
    moved = move_objects(store, SILENT)
    assert moved is not None
    assert moved.objects == 1
    [file] = stored_files.files(store, "p")[0]
    with stored_files.on_disk(store, file) as path:
        assert path.read_bytes() == b"x"


def test_an_upload_that_is_not_complete_goes_on_there(bucket: str, state: Path) -> None:
    for source, target in ((None, bucket), (bucket, None)):
        store = opened(state, source)
        upload = uploads.create(store, "p", "a.txt", "user_data", 6).id
        first = uploads.add_part(store, "p", upload, [b"abc"])
        move(state, target)
        store = opened(state, target)
        second = uploads.add_part(store, "p", upload, [b"def"])
        done = uploads.complete(store, "p", upload, [first.id, second.id])
        assert done.file is not None
        with stored_files.on_disk(store, done.file) as path:
            assert path.read_bytes() == b"abcdef"


KILLED = """
import os, signal, sys
from pathlib import Path
from assay.progress import SILENT
from assay.store import object_transfer
from assay.store.store import Store

folder, bucket, step, number, when = sys.argv[1:]
done, left = getattr(object_transfer, step), int(number)

def dying(*given):
    global left
    left -= 1
    if not left and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = done(*given)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(object_transfer, step, dying)
store = Store(Path(folder))
store.bucket = bucket or None
object_transfer.move_objects(store, SILENT)
"""
STEPS = [
    ("_copy", 1, "before"),
    ("_copy", 2, "after"),
    ("_switch", 1, "before"),
    ("_switch", 1, "after"),
    ("_leave", 1, "after"),
]


@pytest.mark.parametrize("direction", ["there", "back"])
@pytest.mark.parametrize(("step", "number", "when"), STEPS)
def test_a_kill_at_any_step_loses_no_file(
    s3: S3Server, state: Path, step: str, number: int, when: str, direction: str
) -> None:
    source: str | None = None
    target: str | None = "s3://bkt"
    if direction == "back":
        move(state, target)
        source, target = target, source
    output = state.parent / "output.txt"
    done = run_code(KILLED, str(state), target or "", step, str(number), when, output=output)
    assert done.wait(120) == -signal.SIGKILL, output.read_text()
    is_moved = step == "_leave" or (step, when) == ("_switch", "after")
    assert read(state, target if is_moved else source) == WHOLE
    if not is_moved:
        assert move(state, target) is not None
    shutil.rmtree(state / "cache", ignore_errors=True)
    assert read(state, target) == WHOLE
    assert opened(state, target).setting(MOVING) is None
    assert last_bucket(opened(state, target)) == target


def test_what_is_there_is_not_written_again(s3: S3Server, state: Path) -> None:
    writes = list[str]()

    def watch(method: str, path: str) -> int | None:
        if method != "PUT" or "/files/" not in path:
            return None
        writes.append(path)
        return 403 if len(writes) == 4 else None  # the second piece of the third file

    s3.before = watch
    with pytest.raises(ObjectsError, match="access was refused"):
        move(state, "s3://bkt")
    assert read(state, None) == WHOLE
    whole = writes[:2]
    writes[:] = ["", "", "", ""]
    assert move(state, "s3://bkt") is not None
    assert not set(whole) & set(writes)
    assert read(state, "s3://bkt") == WHOLE


def test_a_damaged_file_ends_the_move_and_one_that_was_gone_does_not(
    s3: S3Server, state: Path
) -> None:
    files = {file.filename: file for file in stored_files.files(opened(state, None), "p")[0]}
    path = state / "files" / files["small"].id
    path.write_bytes(b"smalL")
    with pytest.raises(ObjectsError, match=rf"{files['small'].id} was changed or damaged"):
        move(state, "s3://bkt")
    assert last_bucket(opened(state, None)) is None
    path.unlink()
    moved = move(state, "s3://bkt")
    assert moved is not None
    assert moved.missing == (f"files/{files['small'].id}",)
    key = f"bkt/files/{files['large'].id}/0"
    data = s3.objects[key]
    s3.objects[key] = b"x" + data[1:]
    with pytest.raises(ObjectsError, match="was changed or damaged"):
        move(state, None)
    assert last_bucket(opened(state, "s3://bkt")) == "s3://bkt"
    s3.objects[key] = data
    assert move(state, None) is not None


@pytest.mark.parametrize("change", ["kept", "removed"])
def test_what_somebody_changes_meanwhile_ends_the_move(
    s3: S3Server, state: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    copy = object_transfer._copy

    def write(*given: Any) -> None:
        monkeypatch.setattr(object_transfer, "_copy", copy)
        store = opened(state, None)
        if change == "kept":
            stored_files.keep(store, "p", [b"late"], "late", "user_data")
        else:
            stored_files.remove(store, "p", stored_files.files(store, "p")[0][0].id)
        copy(*given)

    monkeypatch.setattr(object_transfer, "_copy", write)
    with pytest.raises(StateError, match=r"meanwhile.*Stop all servers"):
        move(state, "s3://bkt")
    before = read(state, None)
    assert len(before) == {"kept": 4, "removed": 2}[change]
    assert move(state, "s3://bkt") is not None
    assert read(state, "s3://bkt") == before


def test_what_arrives_damaged_is_noticed(s3: S3Server, state: Path) -> None:
    def spoil(method: str, path: str) -> None:
        for key in s3.keys("bkt/files/"):
            s3.objects[key] = s3.objects[key].replace(b"small", b"smalL")

    s3.before = spoil
    with pytest.raises(ObjectsError, match=r"another object|changed or damaged"):
        move(state, "s3://bkt")
    assert read(state, None) == WHOLE


def test_a_place_of_no_use_is_told(
    s3: S3Server, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened(tmp_path / "other", "s3://one")
    objects_of(other)
    with pytest.raises(ObjectsError, match=r"another folder.*Choose another prefix"):
        move(state, "s3://one")
    s3.is_replacing = True
    with pytest.raises(ObjectsError, match="If-None-Match"):
        move(state, "s3://bkt")
    s3.is_replacing = False
    assert read(state, None) == WHOLE
    assert opened(state, None).setting(BEGUN) is None
    move(state, "s3://bkt")
    usage = shutil.disk_usage(state)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StateError, match=r"no room for the files.*1000 are free"):
        move(state, None)
    shutil.rmtree(state / "cache", ignore_errors=True)
    assert read(state, "s3://bkt") == WHOLE
    for file in stored_files.files(opened(state, "s3://bkt"), "p")[0]:
        if file.filename == "large":  # an earlier try has copied it
            (state / "files").mkdir(exist_ok=True)
            (state / "files" / file.id).write_bytes(CONTENTS["large"])
    assert move(state, None) is not None
    assert read(state, None) == WHOLE
