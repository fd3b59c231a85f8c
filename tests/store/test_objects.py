"""Objects in a folder and in a bucket: created once, whole, checked when they are read, and removed
only where no row names them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.preloaded import run_code
from tests.s3 import KEY, SECRET, S3Server

from assay.errors import NotFoundError, ObjectsError, StateError, UsageError
from assay.store import bucket as bucket_module
from assay.store import local_copies, stored_files, unnamed_objects, uploads
from assay.store.bucket import Bucket
from assay.store.object_place import objects_of
from assay.store.objects import FolderObjects, Objects
from assay.store.store import Store
from assay.store.tables import FileRow, UnnamedObjectRow, UploadRow, now

OLD = unnamed_objects.CREATION + timedelta(minutes=1)


@pytest.fixture(params=["folder", "bucket"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "bucket":
        request.getfixturevalue("bucket")
    return str(request.param)


@pytest.fixture
def place(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("bucket") if kind == "bucket" else None


@pytest.fixture
def objects(place: str | None, tmp_path: Path) -> Objects:
    return FolderObjects(tmp_path / "objects") if place is None else Bucket(place)


@pytest.fixture
def store(place: str | None, tmp_path: Path) -> Store:
    return opened(tmp_path / "state", place)


def opened(folder: Path, place: str | None, url: str | None = None) -> Store:
    store = Store(folder, url)
    store.bucket = place
    return store


def draft(folder: Path, data: bytes) -> Path:
    path = folder / f"draft-{hashlib.sha256(data).hexdigest()[:8]}-{threading.get_ident()}"
    path.write_bytes(data)
    return path


def bytes_of(store: Store, id: str) -> bytes:
    with stored_files.on_disk(store, stored_files.find(store, "p", id)) as path:
        return path.read_bytes()


def unnamed(store: Store) -> dict[str, bool]:
    with store.session() as session:
        return {row.name: row.doomed for row in session.query(UnnamedObjectRow)}


def grow_old(store: Store) -> None:
    with store.session() as session:
        session.query(UnnamedObjectRow).update({"since": now() - OLD})


def is_there(store: Store, name: str) -> bool:
    try:
        return next(objects_of(store).read(name, 10**9), b"") is not None
    except NotFoundError:
        return False
    except ObjectsError:  # of another size
        return True


def sweep(store: Store) -> None:
    uploads.sweep(store)
    stored_files.sweep(store, lambda project, id: None)


class TestBoth:
    """What is true wherever objects are."""

    def test_what_is_created_is_read(
        self, objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bucket_module, "PIECE", 1000)
        for number, size in enumerate((0, 1, 999, 1000, 1001, 3500)):
            data = os.urandom(size)
            objects.create(f"files/{number}", draft(tmp_path, data))
            assert b"".join(objects.read(f"files/{number}", size)) == data
            with pytest.raises(ObjectsError):
                list(objects.read(f"files/{number}", size + 1))
            with contextlib.suppress(ObjectsError):
                assert len(b"".join(objects.read(f"files/{number}", size // 2))) <= size // 2
        objects.create("files/10", draft(tmp_path, b"beside"))
        objects.remove(["files/1", "files/5", "files/none"])
        for name in ("files/1", "files/5", "files/none"):
            with pytest.raises(NotFoundError):
                list(objects.read(name, 1))
        assert list(objects.read("files/10", 6)) == [b"beside"]
        objects.create("uploads/u/1", draft(tmp_path, b"one"))
        objects.create("uploads/u/2", draft(tmp_path, b"two"))
        objects.remove(["uploads/u"])
        with pytest.raises(NotFoundError):
            list(objects.read("uploads/u/1", 3))

    def test_of_many_creations_of_a_name_one_wins_and_is_never_replaced(
        self, objects: Objects, tmp_path: Path
    ) -> None:
        won: list[bytes] = []

        def create(data: bytes) -> None:
            try:
                objects.create("files/one", draft(tmp_path, data))
                won.append(data)
            except ObjectsError:
                pass

        racers = [threading.Thread(target=create, args=(b"%02d" % n,)) for n in range(16)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert len(won) == 1
        assert list(objects.read("files/one", 2)) == won
        objects.create("files/one", draft(tmp_path, won[0]))  # whose first answer was lost
        with pytest.raises(ObjectsError):
            objects.create("files/one", draft(tmp_path, b"other"))
        assert list(objects.read("files/one", 2)) == won

    def test_files_are_kept_found_and_removed(self, store: Store) -> None:
        kept = stored_files.keep(store, "p", [b"ab", b"cd"], "a.txt", "user_data")
        assert bytes_of(store, kept.id) == b"abcd"
        assert unnamed(store) == {}
        stored_files.remove(store, "p", kept.id)
        assert not is_there(store, f"files/{kept.id}")
        assert unnamed(store) == {}
        assert [p for p in store.folder.rglob("*") if kept.id in p.name] == []

    def test_uploads_become_files_and_leave_no_parts(self, store: Store) -> None:
        id = uploads.create(store, "p", "a.txt", "user_data", 6).id
        parts = [uploads.add_part(store, "p", id, [data]).id for data in (b"xx", b"abc", b"def")]
        done = uploads.complete(store, "p", id, parts[1:])
        assert done.file is not None
        assert bytes_of(store, done.file.id) == b"abcdef"
        assert not any(is_there(store, f"uploads/{id}/{part}") for part in parts)
        assert unnamed(store) == {}
        with pytest.raises(StateError):
            uploads.add_part(store, "p", id, [b"late"])

        late = uploads.create(store, "p", "a.txt", "user_data", 6).id
        part = uploads.add_part(store, "p", late, [b"abcdef"]).id
        with store.session() as session:
            session.query(UploadRow).filter_by(id=late).update({"expires": now()})
        sweep(store)
        assert not is_there(store, f"uploads/{late}/{part}")
        assert unnamed(store) == {}

    def test_what_is_cut_off_is_seen_by_nobody_and_removed(self, store: Store) -> None:
        def cut() -> Iterator[bytes]:
            yield b"begun"
            raise ConnectionError

        def too_much() -> Iterator[bytes]:
            yield b"12345"

        upload = uploads.create(store, "p", "a.txt", "user_data", 5).id
        with pytest.raises(ConnectionError):
            stored_files.keep(store, "p", cut(), "a.txt", "user_data")
        with pytest.raises(UsageError):
            stored_files.keep(store, "p", too_much(), "a.txt", "user_data", limit=4)
        with pytest.raises(ConnectionError):
            uploads.add_part(store, "p", upload, cut())
        part = uploads.add_part(store, "p", upload, [b"12345"])
        with pytest.raises(UsageError):
            uploads.complete(store, "p", upload, [part.id], md5="0" * 32)
        assert stored_files.files(store, "p") == ([], False)
        assert uploads.find(store, "p", upload).status == "pending"
        assert unnamed(store) == {}
        assert list((store.folder / "files").iterdir()) == []
        assert uploads.complete(store, "p", upload, [part.id]).status == "completed"

    def test_collection_removes_what_no_row_names_and_nothing_else(self, store: Store) -> None:
        kept = stored_files.keep(store, "p", [b"kept"], "a.txt", "user_data")
        orphan = stored_files.write(store, [b"orphan"], 100)  # and its process dies
        upload = uploads.create(store, "p", "a.txt", "user_data", 4).id
        part = uploads.add_part(store, "p", upload, [b"part"]).id
        sweep(store)
        assert is_there(store, f"files/{orphan.id}")  # it may be named yet
        grow_old(store)
        sweep(store)
        assert not is_there(store, f"files/{orphan.id}")
        assert unnamed(store) == {}
        row = stored_files.row_of(orphan, "p", "late.txt", "user_data")
        with pytest.raises(ObjectsError, match="in time"), store.session() as session:
            session.add(row)  # not a row without an object
        with pytest.raises(NotFoundError):
            stored_files.find(store, "p", orphan.id)
        stored_files.discard(store, kept.id)  # whose row was kept, though its commit was cut off
        assert bytes_of(store, kept.id) == b"kept"
        assert uploads.complete(store, "p", upload, [part]).status == "completed"

    @pytest.mark.parametrize("when", ["announced", "created", "named", "doomed"])
    def test_a_kill_leaves_no_row_without_an_object(
        self, store: Store, place: str | None, when: str, tmp_path: Path
    ) -> None:
        code = f"""
import os, signal, sys
from pathlib import Path
from assay.store import stored_files, unnamed_objects
from assay.store.object_place import objects_of
from assay.store.store import Store

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

store = Store(Path({str(store.folder)!r}))
store.bucket = {place!r}
objects = objects_of(store)
if {when!r} == "announced":
    objects.create = die
if {when!r} == "created":
    stored_files.row_of = die
kept = stored_files.keep(store, "p", [b"bytes"], "a.txt", "user_data")
if {when!r} == "named":
    die()
objects.remove = die
stored_files.remove(store, "p", kept.id)
"""
        killed = run_code(code, output=tmp_path / "output")
        assert killed.wait(120) == -signal.SIGKILL, (tmp_path / "output").read_text()
        found, _ = stored_files.files(store, "p")
        assert len(found) == (when == "named")
        assert [bytes_of(store, file.id) for file in found] == [b"bytes"] * len(found)
        names = list(unnamed(store))
        assert len(names) == (when != "named")
        grow_old(store)
        sweep(store)
        assert unnamed(store) == {}
        assert not any(is_there(store, name) for name in names)


def test_two_servers_see_each_others_files(
    bucket: str, tmp_path: Path, empty_postgres: str
) -> None:
    one, two = (opened(tmp_path / n, bucket, empty_postgres) for n in ("one", "two"))
    kept = stored_files.keep(one, "p", [b"from one"], "a.txt", "user_data")
    assert bytes_of(two, kept.id) == b"from one"
    upload = uploads.create(one, "p", "a.txt", "user_data", 6).id
    parts = [uploads.add_part(s, "p", upload, [d]) for s, d in ((one, b"abc"), (two, b"def"))]
    done = uploads.complete(two, "p", upload, [part.id for part in parts])
    assert done.file is not None
    assert bytes_of(one, done.file.id) == b"abcdef"
    stored_files.remove(one, "p", kept.id)
    with pytest.raises(NotFoundError):
        stored_files.find(two, "p", kept.id)
    for path in local_copies.folder_of(two, "files").iterdir():
        os.utime(path, (0, 0))
    sweep(two)
    left = [path.name for path in local_copies.folder_of(two, "files").iterdir()]
    assert left == [done.file.id]


def test_a_server_that_replaces_objects_is_refused(s3: S3Server, tmp_path: Path) -> None:
    s3.is_replacing = True
    store = opened(tmp_path, "s3://bkt")
    with pytest.raises(ObjectsError, match="If-None-Match"):
        objects_of(store)
    with pytest.raises(ObjectsError):
        stored_files.keep(store, "p", [b"x"], "a.txt", "user_data")
    assert s3.keys() == []
    s3.is_replacing = False
    assert stored_files.keep(store, "p", [b"x"], "a.txt", "user_data").bytes == 1


def test_a_damaged_object_is_not_given_out(s3: S3Server, tmp_path: Path) -> None:
    one, two = opened(tmp_path / "one", "s3://bkt"), opened(tmp_path / "one", "s3://bkt")
    kept = stored_files.keep(one, "p", [b"right"], "a.txt", "user_data")
    upload = uploads.create(one, "p", "a.txt", "user_data", 5).id
    part = uploads.add_part(one, "p", upload, [b"right"])
    local_copies.drop(one, "files", kept.id)
    [key] = s3.keys("bkt/files/")
    for damage in (b"wrong", b"rig", b"right and more"):
        s3.objects[key] = damage
        with pytest.raises(ObjectsError, match="damaged"):
            bytes_of(two, kept.id)
    [key] = s3.keys("bkt/uploads/")
    s3.objects[key] = b"wrong"
    with pytest.raises(ObjectsError, match="damaged"):
        uploads.complete(two, "p", upload, [part.id])
    assert len(stored_files.files(two, "p")[0]) == 1


def test_a_bucket_belongs_to_one_folder_and_is_not_lost_unsaid(
    s3: S3Server, tmp_path: Path
) -> None:
    store = opened(tmp_path / "a", "s3://bkt/x")
    stored_files.keep(store, "p", [b"x"], "a.txt", "user_data")
    for folder, place, words in (
        ("b", "s3://bkt/x", "another folder"),
        ("a", None, "no setting names it"),
        ("a", "s3://bkt/y", "there are none"),
    ):
        with pytest.raises(ObjectsError, match=words):
            objects_of(opened(tmp_path / folder, place))
    for key in s3.keys("bkt/x/"):  # copied, as the sentence says
        s3.objects[key.replace("/x/", "/y/")] = s3.objects[key]
    moved = opened(tmp_path / "a", "s3://bkt/y")
    kept_there = stored_files.files(moved, "p")[0][0]
    local_copies.drop(moved, "files", kept_there.id)
    assert bytes_of(moved, kept_there.id) == b"x"


def test_files_of_before_move_to_the_bucket(s3: S3Server, tmp_path: Path) -> None:
    before = opened(tmp_path, None)
    kept = stored_files.keep(before, "p", [b"before"], "a.txt", "user_data")
    store = opened(tmp_path, "s3://bkt")
    assert bytes_of(store, kept.id) == b"before"
    sweep(store)
    assert [s3.objects[key] for key in s3.keys("bkt/files/")] == [b"before"]
    assert not stored_files.path_of(store, kept.id).exists()
    local_copies.drop(store, "files", kept.id)
    assert bytes_of(store, kept.id) == b"before"
    grow_old(store)
    sweep(store)
    assert bytes_of(store, kept.id) == b"before"


def test_copies_on_disk_are_bounded_and_stay_while_they_are_read(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_copies, "CACHE_BYTES", 10)
    store = opened(tmp_path, "s3://bkt")
    files = [stored_files.keep(store, "p", [b"%d234" % n], "a", "user_data") for n in range(4)]
    folder = local_copies.folder_of(store, "files")
    assert len(list(folder.iterdir())) == 2
    with stored_files.on_disk(store, files[0]) as first:
        for file in files[1:]:
            bytes_of(store, file.id)
        assert not (folder / files[0].id).exists()
        assert first.read_bytes() == b"0234"
    assert not first.exists()


def test_away_or_refused_is_a_sentence_without_secrets(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path, "s3://bkt")
    kept = stored_files.keep(store, "p", [b"x"], "a.txt", "user_data")
    s3.before = lambda method, path: 400
    local_copies.drop(store, "files", kept.id)
    errors: list[Any] = []
    for call in (
        lambda: bytes_of(store, kept.id),
        lambda: stored_files.keep(store, "p", [b"y"], "a.txt", "user_data"),
        lambda: objects_of(opened(tmp_path, "s3://bkt")),
    ):
        with pytest.raises(ObjectsError) as error:
            call()
        errors.append(error.value)
    stored_files.remove(store, "p", kept.id)  # its bytes follow
    assert is_doomed(store)
    s3.before = lambda method, path: None
    grow_old(store)
    sweep(store)
    assert s3.keys("bkt/files/") == []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    with pytest.raises(ObjectsError, match=r"refused.*InvalidAccessKeyId") as error:
        objects_of(opened(tmp_path, "s3://bkt"))
    errors.append(error.value)
    for error in errors:
        assert not any(word in str(error) for word in (SECRET, KEY, "AKIAWRONG"))


def is_doomed(store: Store) -> bool:
    return True in unnamed(store).values()


@pytest.mark.parametrize(
    "endpoint",
    ["http://10.0.0.1:9000", "http://s3.example.com", "ftp://127.0.0.1", "https://a:b@s3.example"],
)
def test_an_endpoint_without_https_is_this_machine(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(ObjectsError, match="AWS_ENDPOINT_URL"):
        Bucket("s3://bkt")


def test_rows_are_only_of_files_that_were_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    row = FileRow(id="f", project="p", filename="", purpose="", bytes=0, sha256="")
    with pytest.raises(ObjectsError), store.session() as session:
        session.add(row)


@pytest.mark.parametrize("name", ["", ".", "/tmp/x", "../x", "files/../../x", "files//x"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    objects = FolderObjects(tmp_path / "state")
    (tmp_path / "x").write_bytes(b"x")
    for use in (lambda: objects.remove([name]), lambda: list(objects.read(name, 1))):
        with pytest.raises(ObjectsError, match="cannot be the name of an object"):
            use()


@pytest.mark.parametrize("bytes", [b"right", b"wrong"])
def test_a_file_that_a_kill_has_left_in_the_folder_never_replaces_the_object(
    s3: S3Server, tmp_path: Path, bytes: bytes
) -> None:
    store = opened(tmp_path, "s3://bkt")
    file = stored_files.keep(store, "p", [b"right"], "a", "user_data")
    unnamed_objects.announce(store, stored_files.object_name(file.id))
    path = tmp_path / "files" / file.id
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes)
    stored_files.sweep(store, lambda *_: None)
    assert not path.exists()
    assert unnamed(store) == {}
    local_copies.drop(store, "files", file.id)
    assert bytes_of(store, file.id) == b"right"


def test_a_damaged_file_of_the_folder_is_not_moved(s3: S3Server, tmp_path: Path) -> None:
    file = stored_files.keep(opened(tmp_path, None), "p", [b"right"], "a", "user_data")
    path = tmp_path / "files" / file.id
    path.write_bytes(b"wrong")
    stored_files.sweep(opened(tmp_path, "s3://bkt"), lambda *_: None)
    assert path.exists()
    assert s3.keys("bkt/files/") == []
