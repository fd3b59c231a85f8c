"""Versions in a bucket: seen whole by every server, or by none; fetched once, checked, and held
while they are read."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.models.test_versions import RECORD, adapter
from tests.preloaded import run_code
from tests.s3 import S3Server
from tests.store.test_objects import grow_old, opened, unnamed

from assay.accounts.quota import Quota
from assay.errors import ModelError, ObjectsAwayError, ObjectsError
from assay.models.bucket_versions import KIND
from assay.models.stored_versions import FolderVersions
from assay.models.versions import (
    LocalVersion,
    copy_to_folder,
    find_version,
    full_id,
    lend_folder,
    list_versions,
    load_version,
    remove_version,
    save_version,
    sweep_versions,
)
from assay.progress import SILENT
from assay.store import local_copies, unnamed_objects
from assay.store.store import Store
from assay.store.tables import ServedNameRow, TrainedVersionRow

__all__ = ["adapter"]
BUCKET = "s3://bkt"
WEIGHTS = "adapter_model.safetensors"
FILES = {WEIGHTS, "adapter_config.json"}


@pytest.fixture
def store(s3: S3Server, tmp_path: Path) -> Store:
    return opened(tmp_path / "one", BUCKET)


@pytest.fixture
def servers(s3: S3Server, tmp_path: Path, empty_postgres: str) -> list[Store]:
    return [opened(tmp_path / name, BUCKET, empty_postgres) for name in ("one", "two")]


def contents(version: LocalVersion) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in version.folder.iterdir()}


def copies(store: Store) -> set[str]:
    return {path.name for path in local_copies.folder_of(store, KIND).iterdir()}


def drop_copies(store: Store) -> None:
    for path in local_copies.folder_of(store, KIND).glob("*"):
        path.unlink()


def test_what_one_server_keeps_another_loads(
    servers: list[Store], adapter: Path, s3: S3Server
) -> None:
    one, two = servers
    id = save_version(one, adapter, RECORD, "p")
    assert not (one.folder / "versions").exists()
    assert len(s3.keys("bkt/versions/")) == 2
    assert (full_id(two, id[:8]), find_version(two, id)) == (id, find_version(one, id))
    assert [version.owner for version in list_versions(two)] == ["p"]
    version = load_version(two, id)
    assert version.record == RECORD
    assert version.folder.is_relative_to(two.folder)
    assert contents(version) == contents(load_version(one, id))
    assert set(contents(version)) == FILES
    assert contents(version)[WEIGHTS] == (adapter / WEIGHTS).read_bytes()
    assert save_version(two, adapter, RECORD) == id
    assert len(s3.keys("bkt/versions/")) == 2
    for unknown in ("0" * 64, id[:5], "../x"):
        with pytest.raises(ModelError, match="there is no version"):
            load_version(two, unknown)


def test_its_id_is_that_of_a_folder(store: Store, adapter: Path, tmp_path: Path) -> None:
    folder = Store(tmp_path / "folder")
    assert save_version(store, adapter, RECORD) == save_version(folder, adapter, RECORD)
    here, there = list_versions(folder)[0], list_versions(store)[0]
    assert (here.id, here.record) == (there.id, there.record)


def test_of_servers_that_keep_the_same_version_one_does(
    servers: list[Store], adapter: Path, s3: S3Server
) -> None:
    racers = [
        threading.Thread(target=save_version, args=(store, adapter, RECORD))
        for store in servers * 2
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    [version] = list_versions(servers[0])
    assert len(s3.keys("bkt/versions/")) == 2
    assert unnamed(servers[0]) == {}
    for store in servers:
        drop_copies(store)
        assert set(contents(load_version(store, version.id))) == FILES


@pytest.mark.parametrize("when", ["announced", "half", "created", "named"])
def test_a_kill_leaves_no_version_without_its_objects(
    store: Store, adapter: Path, s3: S3Server, when: str, tmp_path: Path
) -> None:
    code = f"""
import os, signal
from pathlib import Path
from assay.models import bucket_versions, versions
from assay.store import local_copies
from assay.store.object_place import objects_of
from assay.store.store import Store

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def half(name, draft):
    objects.create = die
    create(name, draft)

store = Store(Path({str(store.folder)!r}))
store.bucket = {BUCKET!r}
objects = objects_of(store)
create = objects.create
if {when!r} == "announced":
    objects.create = die
if {when!r} == "half":
    objects.create = half
if {when!r} == "created":
    bucket_versions._Row.__init__ = die
if {when!r} == "named":
    local_copies.keep = die
record = versions.VersionRecord.model_validate_json({RECORD.model_dump_json()!r})
versions.save_version(store, Path({str(adapter)!r}), record)
"""
    killed = run_code(code, output=tmp_path / "output")
    assert killed.wait(120) == -signal.SIGKILL, (tmp_path / "output").read_text()
    assert len(list_versions(store)) == (when == "named")
    assert len(s3.keys("bkt/versions/")) == {"announced": 0, "half": 1}.get(when, 2)
    id = save_version(store, adapter, RECORD)
    assert set(contents(load_version(store, id))) == FILES
    grow_old(store)
    unnamed_objects.collect(store)
    assert unnamed(store) == {}
    assert len(s3.keys("bkt/versions/")) == 2
    drop_copies(store)
    assert set(contents(load_version(store, id))) == FILES


@pytest.mark.parametrize("damage", ["bit", "cut", "longer", "gone"])
def test_a_damaged_object_is_refused(
    store: Store, adapter: Path, s3: S3Server, damage: str
) -> None:
    id = save_version(store, adapter, RECORD)
    drop_copies(store)
    [key] = [key for key in s3.keys("bkt/versions/") if WEIGHTS in key]
    data = s3.objects.pop(key)
    if damage != "gone":
        changed = bytes([data[0] ^ 1]) + data[1:]
        s3.objects[key] = {"bit": changed, "cut": data[:9], "longer": data + b"."}[damage]
    error = ModelError if damage == "gone" else ObjectsError
    with pytest.raises(error, match="are gone" if damage == "gone" else "damaged"):
        load_version(store, id)
    assert not any(name.endswith(WEIGHTS) for name in copies(store))
    s3.objects[key] = data
    assert contents(load_version(store, id))[WEIGHTS] == data


def test_a_damaged_copy_is_fetched_again(store: Store, adapter: Path) -> None:
    id = save_version(store, adapter, RECORD)
    copy = local_copies.folder_of(store, KIND) / f"{id}.{WEIGHTS}"
    copy.chmod(0o644)
    copy.write_bytes(b"?" * copy.stat().st_size)
    assert contents(load_version(store, id))[WEIGHTS] == (adapter / WEIGHTS).read_bytes()
    assert copy.read_bytes() == (adapter / WEIGHTS).read_bytes()


def test_a_changed_record_is_refused(store: Store, adapter: Path) -> None:
    id = save_version(store, adapter, RECORD)
    with store.session() as session:
        row = session.get_one(TrainedVersionRow, id)
        row.record = {**row.record, "seed": 1}
    with pytest.raises(ModelError, match="has changed since it was saved"):
        load_version(store, id)


@pytest.mark.parametrize("change", [{"id": "../../out"}, {"files": {"../../out": {"sha256": ""}}}])
def test_a_row_whose_names_lead_out_of_the_folder_is_refused(
    store: Store, adapter: Path, change: dict[str, Any]
) -> None:
    id = save_version(store, adapter, RECORD)
    with store.session() as session:
        session.execute(update(TrainedVersionRow).values(**change))
    with pytest.raises(ModelError, match="has changed since it was saved"):
        copy_to_folder(store, SILENT)
    if "files" in change:
        with pytest.raises(ModelError, match="has changed since it was saved"):
            find_version(store, id)
    assert not (store.folder.parent / "out").exists()


def test_what_was_copied_is_served_while_the_bucket_is_away(
    servers: list[Store], adapter: Path, s3: S3Server, tmp_path: Path, empty_postgres: str
) -> None:
    one, two = servers
    ids = [save_version(one, adapter, RECORD.model_copy(update={"seed": n})) for n in (1, 2)]
    load_version(two, ids[0])
    s3.before = lambda method, path: 400
    two = opened(tmp_path / "two", BUCKET, empty_postgres)  # also after it was started again
    assert set(contents(load_version(two, ids[0]))) == FILES
    assert {version.id for version in list_versions(two)} == set(ids)
    with pytest.raises(ObjectsAwayError):
        load_version(two, ids[1])
    with pytest.raises(ObjectsAwayError):
        save_version(two, adapter, RECORD)
    assert {version.id for version in list_versions(two)} == set(ids)
    s3.before = lambda method, path: None
    assert set(contents(load_version(two, ids[1]))) == FILES


def test_copies_are_bounded_and_stay_while_they_are_used(
    store: Store, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum((adapter / name).stat().st_size for name in FILES)
    monkeypatch.setattr(local_copies, "CACHE_BYTES", 2 * size)
    ids = [save_version(store, adapter, RECORD.model_copy(update={"seed": n})) for n in range(5)]
    held = load_version(store, ids[0])
    before = contents(held)
    for id in ids[1:]:
        assert set(contents(load_version(store, id))) == FILES
    total = sum(p.stat().st_size for p in local_copies.folder_of(store, KIND).iterdir())
    assert total <= 2 * size
    assert not any(name.startswith(ids[0]) for name in copies(store))
    assert contents(held) == before
    for folder in (store.folder / "cache" / "held").iterdir():
        os.utime(folder, (0, 0))  # it was held for weeks
    local_copies.sweep_held(store)
    assert contents(held) == before
    folder = held.folder
    del held
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize("days", [6, 8])
def test_what_is_lent_stays_for_a_week_after_whoever_lent_it(
    store: Store, adapter: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    folder = lend_folder(store, load_version(store, save_version(store, adapter, RECORD)))
    long_ago = time.time() - days * 86400
    os.utime(folder, (long_ago, long_ago))
    monkeypatch.setattr(local_copies, "_in_use_here", set())  # as another process
    local_copies.sweep_held(store)
    assert folder.exists() == (days < 7)


def test_what_is_lent_while_it_is_swept_stays(
    store: Store, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = load_version(store, save_version(store, adapter, RECORD))
    folder = lend_folder(store, version)
    os.utime(folder, (0, 0))
    monkeypatch.setattr(local_copies, "_in_use_here", set())
    lock = Store.lock_here

    def lend_first(store: Store, name: str) -> AbstractContextManager[None]:
        """Somebody else lends it between the first look and the second."""
        monkeypatch.setattr(Store, "lock_here", lock)
        lend_folder(store, version)
        return lock(store, name)

    monkeypatch.setattr(Store, "lock_here", lend_first)
    local_copies.sweep_held(store)
    assert {file.name for file in folder.iterdir()} == FILES


def test_what_is_lent_goes_with_the_version(servers: list[Store], adapter: Path) -> None:
    one, two = servers
    id = save_version(one, adapter, RECORD)
    lent = [lend_folder(store, load_version(store, id)) for store in servers]
    remove_version(one, id)
    assert [folder.exists() for folder in lent] == [False, True]
    sweep_versions(two)
    assert not lent[1].exists()


def test_many_that_need_it_at_once_fetch_it_once(
    servers: list[Store], adapter: Path, s3: S3Server
) -> None:
    one, two = servers
    id = save_version(one, adapter, RECORD)
    load_version(two, save_version(two, adapter, RECORD.model_copy(update={"seed": 1})))
    fetched: list[str] = []
    s3.before = lambda method, path: fetched.append(path) if method == "GET" else None
    found: list[set[str]] = []
    readers = [
        threading.Thread(target=lambda: found.append(set(contents(load_version(two, id)))))
        for _ in range(8)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == [FILES] * 8
    assert len(fetched) == 2


def test_a_removed_version_is_gone_everywhere_but_under_who_reads_it(
    servers: list[Store], adapter: Path, s3: S3Server
) -> None:
    one, two = servers
    id = save_version(one, adapter, RECORD)
    held = load_version(two, id)
    before = contents(held)
    remove_version(one, id)
    assert s3.keys("bkt/versions/") == []
    assert unnamed(one) == {}
    for store in servers:
        assert list_versions(store) == []
        with pytest.raises(ModelError, match="there is no version"):
            load_version(store, id)
    assert copies(one) == set()
    assert contents(held) == before
    for path in local_copies.folder_of(two, KIND).iterdir():
        os.utime(path, (0, 0))
    sweep_versions(two)
    assert copies(two) == set()
    assert contents(held) == before
    assert save_version(two, adapter, RECORD) == id
    assert set(contents(load_version(one, id))) == FILES


def test_a_removal_while_the_bucket_is_away_is_made_up_for(
    store: Store, adapter: Path, s3: S3Server
) -> None:
    id = save_version(store, adapter, RECORD)
    s3.before = lambda method, path: 400
    remove_version(store, id)
    assert list_versions(store) == []
    s3.before = lambda method, path: None
    unnamed_objects.collect(store)
    assert s3.keys("bkt/versions/") == []


def test_those_of_before_move_to_the_bucket(s3: S3Server, tmp_path: Path, adapter: Path) -> None:
    before = opened(tmp_path, None)
    ids = [save_version(before, adapter, RECORD.model_copy(update={"seed": n})) for n in (1, 2)]
    damaged = save_version(before, adapter, RECORD, "p")
    file = tmp_path / "versions" / damaged / WEIGHTS
    file.chmod(0o644)
    file.write_bytes(b"?")
    listed = list_versions(before)
    store = opened(tmp_path, BUCKET)
    assert list_versions(store) == listed
    held = load_version(store, ids[0])
    assert save_version(store, adapter, held.record) == ids[0]
    assert s3.keys("bkt/versions/") == []
    sweep_versions(store)
    assert list_versions(store) == listed
    assert {p.name for p in (tmp_path / "versions").iterdir()} == {damaged}
    assert set(contents(held)) == FILES  # though it was read from the folder
    assert len(s3.keys("bkt/versions/")) == 4
    drop_copies(store)
    sweep_versions(store)
    assert all(set(contents(load_version(store, id))) == FILES for id in ids)
    with pytest.raises(ObjectsError, match="damaged"):
        load_version(store, damaged)
    with pytest.raises(ObjectsError, match="no setting names it"):
        list_versions(opened(tmp_path, None))


@pytest.mark.parametrize("when", ["created", "named", "half gone"])
def test_a_kill_while_they_move_loses_none(
    s3: S3Server, tmp_path: Path, adapter: Path, when: str
) -> None:
    id = save_version(opened(tmp_path, None), adapter, RECORD)
    code = f"""
import os, signal
from pathlib import Path
from assay.models import bucket_versions, stored_versions, versions
from assay.store import local_copies
from assay.store.store import Store

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def half(*given):
    keep(*given)
    die()

keep = local_copies.keep
if {when!r} == "created":
    bucket_versions._Row.__init__ = die
if {when!r} == "named":
    local_copies.keep = die
if {when!r} == "half gone":
    local_copies.keep = half
store = Store(Path({str(tmp_path)!r}))
store.bucket = {BUCKET!r}
versions.sweep_versions(store)
"""
    killed = run_code(code, output=tmp_path / "output")
    assert killed.wait(120) == -signal.SIGKILL, (tmp_path / "output").read_text()
    store = opened(tmp_path, BUCKET)
    assert [version.id for version in list_versions(store)] == [id]
    assert set(contents(load_version(store, id))) == FILES
    sweep_versions(store)
    grow_old(store)
    unnamed_objects.collect(store)
    assert list((tmp_path / "versions").iterdir()) == []
    assert len(s3.keys("bkt/versions/")) == 2
    drop_copies(store)
    assert set(contents(load_version(store, id))) == FILES


@pytest.mark.parametrize("step", ["ids", "read"])
def test_one_that_is_moved_while_it_is_looked_for_is_found(
    s3: S3Server, tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    id = save_version(opened(tmp_path, None), adapter, RECORD)
    store, other = opened(tmp_path, BUCKET), opened(tmp_path, BUCKET)
    done = getattr(FolderVersions, step)

    def move(*given: Any) -> Any:
        monkeypatch.setattr(FolderVersions, step, done)
        sweep_versions(other)
        return done(*given)

    monkeypatch.setattr(FolderVersions, step, move)
    assert find_version(store, id).id == id


def test_what_a_project_takes_is_counted_wherever_it_is(
    s3: S3Server, tmp_path: Path, adapter: Path
) -> None:
    id = save_version(opened(tmp_path, None), adapter, RECORD)
    store = opened(tmp_path, BUCKET)
    other = save_version(store, adapter, RECORD.model_copy(update={"seed": 1}))
    with store.session() as session:
        for name, target in (("a", id), ("b", other), ("c", "0" * 64)):
            row = ServedNameRow(name=name, project="p", target=f"version:{target}")
            session.add(row)
    size = sum(len(data) for data in contents(load_version(store, other)).values())
    record = (tmp_path / "versions" / id / "version.json").stat().st_size
    assert Quota(store, 1).storage("p").models == 2 * size + record
    sweep_versions(store)
    assert Quota(store, 1).storage("p").models == 2 * size


def test_without_a_bucket_nothing_of_it_is_loaded(tmp_path: Path, adapter: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from assay.models import versions
from assay.store import blobs
from assay.store.store import Store

store = Store(Path({str(tmp_path)!r}))
record = versions.VersionRecord.model_validate_json({RECORD.model_dump_json()!r})
id = versions.save_version(store, Path({str(adapter)!r}), record)
versions.load_version(store, id)
blobs.get(store, blobs.put(store, b"x"))
print([n for n in sys.modules if "obstore" in n or n.endswith(("bucket_versions", "bucket_blobs"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
