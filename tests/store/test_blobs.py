"""Blobs, in the folder and in a bucket: kept by content, shared by servers, checked when read."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from pathlib import Path

import pytest
from tests.preloaded import run_code
from tests.s3 import S3Server
from tests.store.test_objects import grow_old, opened, unnamed

from assay.errors import AssayError, NotFoundError, ObjectsAwayError, ObjectsError
from assay.store import blobs, local_copies, stored_files, unnamed_objects
from assay.store.bucket_blobs import KIND
from assay.store.folder_blobs import FolderBlobs
from assay.store.store import Store
from assay.store.tables import BlobRow

BUCKET = "s3://bkt"


def copies(store: Store) -> list[Path]:
    return sorted(local_copies.folder_of(store, KIND).iterdir())


@pytest.mark.parametrize("place", [None, BUCKET])
def test_bytes_are_kept_by_their_content(s3: S3Server, tmp_path: Path, place: str | None) -> None:
    store = opened(tmp_path, place)
    data = os.urandom(1000)
    name = blobs.put(store, data)
    assert name == hashlib.sha256(data).hexdigest() == blobs.put(store, data)
    assert blobs.has(store, name)
    assert blobs.get(store, name) == data
    assert not blobs.has(store, "0" * 64)
    with pytest.raises(AssayError, match="there is no blob"):
        blobs.get(store, "0" * 64)
    assert len(s3.keys("bkt/blobs/")) == (place is not None)
    assert (tmp_path / "blobs").exists() == (place is None)


def test_a_server_with_another_folder_reads_them(
    s3: S3Server, tmp_path: Path, empty_postgres: str
) -> None:
    one, two = (opened(tmp_path / n, BUCKET, empty_postgres) for n in ("one", "two"))
    name = blobs.put(one, b"of one")
    assert blobs.has(two, name)
    assert blobs.get(two, name) == b"of one"
    assert blobs.put(two, b"of one") == name
    assert len(s3.keys("bkt/blobs/")) == 1
    s3.before = lambda method, path: 400
    assert blobs.get(two, name) == b"of one"  # there is a copy here
    [copy] = copies(two)
    copy.unlink()
    with pytest.raises(ObjectsAwayError):
        blobs.get(opened(tmp_path / "two", BUCKET, empty_postgres), name)
    with pytest.raises(ObjectsAwayError):
        blobs.put(two, b"other")


def test_of_many_that_keep_the_same_bytes_one_object_stays(
    s3: S3Server, tmp_path: Path, empty_postgres: str
) -> None:
    stores = [opened(tmp_path / str(n), BUCKET, empty_postgres) for n in range(4)]
    racers = [threading.Thread(target=blobs.put, args=(store, b"same")) for store in stores]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(s3.keys("bkt/blobs/")) == 1
    assert unnamed(stores[0]) == {}
    name = hashlib.sha256(b"same").hexdigest()
    assert [blobs.get(store, name) for store in stores] == [b"same"] * 4


def test_wrong_bytes_are_not_given_out(s3: S3Server, tmp_path: Path) -> None:
    store = opened(tmp_path, BUCKET)
    name = blobs.put(store, b"right")
    [copy] = copies(store)
    copy.write_bytes(b"wrong")
    assert blobs.get(store, name) == b"right"  # fetched again
    [key] = s3.keys("bkt/blobs/")
    for damage in (b"wrong", b"rig", b"right and more"):
        s3.objects[key] = damage
        local_copies.drop(store, KIND, name)
        with pytest.raises(ObjectsError, match="damaged"):
            blobs.get(store, name)
        assert copies(store) == []


@pytest.mark.parametrize("damage", [None, b"wrong"])
def test_an_object_that_is_gone_or_damaged_is_written_anew(
    s3: S3Server, tmp_path: Path, damage: bytes | None
) -> None:
    store = opened(tmp_path, BUCKET)
    name = blobs.put(store, b"right")
    [key] = s3.keys("bkt/blobs/")
    del s3.objects[key]
    if damage is None:
        local_copies.drop(store, KIND, name)
        with pytest.raises(AssayError, match="there is no blob") as told:
            blobs.get(store, name)
        assert not isinstance(told.value, NotFoundError)  # nobody asked for a thing by its name
    else:
        s3.objects[key] = damage
    s3.before = lambda method, path: 403
    with pytest.raises(ObjectsError, match="access was refused"):  # which tells nothing of it
        blobs.put(store, b"right")
    assert blobs.has(store, name)
    s3.before = lambda method, path: None
    assert blobs.put(store, b"right") == name
    assert [s3.objects[key] for key in s3.keys("bkt/blobs/")] == [b"right"]
    local_copies.drop(store, KIND, name)
    assert blobs.get(store, name) == b"right"
    assert unnamed(store) == {}


def test_a_file_whose_object_is_gone_does_not_name_the_bucket(s3: S3Server, tmp_path: Path) -> None:
    store = opened(tmp_path, BUCKET)
    file = stored_files.keep(store, "p", [b"x"], "a", "user_data")
    s3.objects.clear()
    local_copies.drop(store, stored_files.KIND, file.id)
    with pytest.raises(NotFoundError) as told, stored_files.on_disk(store, file):
        pass
    assert BUCKET not in str(told.value)


@pytest.mark.parametrize("when", ["announced", "created", "named"])
def test_a_kill_leaves_no_row_without_an_object(s3: S3Server, tmp_path: Path, when: str) -> None:
    code = f"""
import os, signal
from pathlib import Path
from assay.store import blobs, bucket_blobs, local_copies
from assay.store.object_place import objects_of
from assay.store.store import Store

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

store = Store(Path({str(tmp_path)!r}))
store.bucket = {BUCKET!r}
objects = objects_of(store)
if {when!r} == "announced":
    objects.create = die
if {when!r} == "created":
    bucket_blobs.BlobRow.__init__ = die
if {when!r} == "named":
    local_copies.keep = die
blobs.put(store, b"bytes")
"""
    killed = run_code(code, output=tmp_path / "output")
    assert killed.wait(120) == -signal.SIGKILL, (tmp_path / "output").read_text()
    store = opened(tmp_path, BUCKET)
    name = hashlib.sha256(b"bytes").hexdigest()
    assert blobs.has(store, name) == (when == "named")
    assert len(unnamed(store)) == (when != "named")
    assert blobs.get(store, blobs.put(store, b"bytes")) == b"bytes"
    grow_old(store)
    unnamed_objects.collect(store)
    assert unnamed(store) == {}
    assert len(s3.keys("bkt/blobs/")) == 1
    assert blobs.get(store, name) == b"bytes"


def test_those_of_before_move_to_the_bucket(s3: S3Server, tmp_path: Path) -> None:
    before = opened(tmp_path, None)
    names = [blobs.put(before, b"%d" % n) for n in range(3)]
    damaged = blobs.put(before, b"damaged")
    path = tmp_path / "blobs" / damaged[:2] / damaged
    path.write_bytes(b"?")
    store = opened(tmp_path, BUCKET)
    assert blobs.get(store, names[0]) == b"0"
    assert blobs.put(store, b"0") == names[0]
    assert s3.keys("bkt/blobs/") == []
    blobs.sweep(store)
    assert sorted(s3.objects[key] for key in s3.keys("bkt/blobs/")) == [b"0", b"1", b"2"]
    assert [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()] == [path]
    for copy in copies(store):
        copy.unlink()
    blobs.sweep(store)
    assert [blobs.get(store, name) for name in names] == [b"0", b"1", b"2"]
    with pytest.raises(ObjectsError, match="no setting names it"):
        blobs.get(opened(tmp_path, None), names[0])


def test_a_damaged_file_does_not_hide_the_object(s3: S3Server, tmp_path: Path) -> None:
    store = opened(tmp_path, BUCKET)
    name = blobs.put(store, b"right")
    path = tmp_path / "blobs" / name[:2] / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"wrong")
    blobs.sweep(store)
    assert blobs.get(store, name) == b"right"


def test_one_that_is_moved_while_it_is_looked_for_is_found(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, look = blobs.put(opened(tmp_path, None), b"x"), FolderBlobs.has
    store, other = opened(tmp_path, BUCKET), opened(tmp_path, BUCKET)

    def move(folder: FolderBlobs, name: str) -> bool:
        blobs.sweep(other)
        return look(folder, name)

    monkeypatch.setattr(FolderBlobs, "has", move)
    assert blobs.has(store, name)


def test_copies_are_bounded_apart_from_those_of_files(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_copies, "CACHE_BYTES", 10)
    store = opened(tmp_path, BUCKET)
    names = [blobs.put(store, b"%d234" % n) for n in range(4)]
    stored_files.keep(store, "p", [b"0123456789"], "a", "user_data")
    assert len(copies(store)) == 2
    assert [blobs.get(store, name) for name in names] == [b"%d234" % n for n in range(4)]
    assert len(copies(store)) == 2


def test_a_row_is_only_of_an_object_that_was_written(tmp_path: Path) -> None:
    row = BlobRow(sha256="0" * 64, object="blobs/x", bytes=0)
    with pytest.raises(ObjectsError), Store(tmp_path).session() as session:
        session.add(row)
