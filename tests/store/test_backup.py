"""State as one file: consistent while in use, checked before it is put back, never overwriting."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from assay.errors import StoreError, UsageError
from assay.store import blobs
from assay.store.backup import MANIFEST, BackupError, backup, restore
from assay.store.store import Store

BUSY = """
import sys
from pathlib import Path
from assay.store import blobs
from assay.store.store import Store
store = Store(Path(sys.argv[1]))
n = 0
while True:
    n += 1
    store.set("newest", blobs.put(store, f"blob {n}".encode()))
    print(n, flush=True)
"""


@pytest.fixture
def state(tmp_path: Path) -> Store:
    store = Store(tmp_path / "project" / ".assay")
    store.set("name", blobs.put(store, b"a blob"))
    version = store.folder / "versions" / ("a" * 64)
    version.mkdir(parents=True)
    (version / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 1000)
    (store.folder / "split").mkdir()
    (store.folder / "split" / "train.jsonl").write_text("{}\n")
    for passing in (
        "work/step-1",
        "cache/vectors",
        "blobs/.x.part",
        "runs/a/.lock",
        "split.lock",
        "versions/lock",
    ):
        path = store.folder / passing
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("passing")
    return store


def test_there_and_back(state: Store, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "monday.tar"
    made = backup(state, file)
    assert made.files == 4
    assert file.stat().st_mode & 0o077 == 0
    assert [p.name for p in file.parent.iterdir()] == ["monday.tar"]
    target = tmp_path / "elsewhere" / ".assay"
    assert restore(file, target) == made
    back = Store(target)
    assert blobs.get(back, back.setting("name") or "") == b"a blob"
    weights = target / "versions" / ("a" * 64) / "adapter_model.safetensors"
    assert weights.read_bytes() == bytes(range(256)) * 1000
    assert weights.stat().st_mode & 0o222 == 0
    names = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert not [n for n in names if n.startswith(("work", "cache")) or "part" in n or "lock" in n]


def test_neither_overwrites_anything(state: Store, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    backup(state, file)
    before = file.read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        backup(state, file)
    with pytest.raises(UsageError, match="inside the state"):
        backup(state, state.folder / "a.tar")
    with pytest.raises(UsageError, match="does not replace"):
        restore(file, state.folder)
    assert file.read_bytes() == before
    empty = tmp_path / "empty"
    empty.mkdir()
    restore(file, empty)
    with pytest.raises(BackupError, match="no such file"):
        restore(tmp_path / "no.tar", tmp_path / "x")


def test_a_place_of_no_use_is_told_with_a_sentence(state: Store, tmp_path: Path) -> None:
    file, good = tmp_path / "file", tmp_path / "good.tar"
    file.write_text("no folder")
    backup(state, good)
    with pytest.raises(BackupError, match="could not be written"):
        backup(state, file / "a.tar")
    with pytest.raises(BackupError, match="nothing was restored"):
        restore(good, file / ".assay")
    os.mkfifo(tmp_path / "pipe")
    for none in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(BackupError, match="no such file"):
            restore(none, tmp_path / "x")


def test_a_disk_that_is_full_is_told_with_a_sentence(
    state: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.store import backup as module

    good = tmp_path / "good.tar"
    backup(state, good)
    before = sorted(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "_copy_database", full)
    with pytest.raises(BackupError, match="disk is full"):
        backup(state, tmp_path / "a.tar")
    monkeypatch.setattr(module, "_copy", no_room)
    with pytest.raises(StoreError, match="disk is full"):
        restore(good, tmp_path / ".assay")
    assert sorted(tmp_path.iterdir()) == before


def test_taken_while_others_write(state: Store, tmp_path: Path) -> None:
    """Whatever the database points at is in the archive, however fast it grows."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, str(state.folder)], stdout=subprocess.PIPE
    ) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        try:
            for n in range(5):
                backup(state, tmp_path / f"{n}.tar")
                time.sleep(0.02)
        finally:
            busy.kill()
    seen = set()
    for n in range(5):
        restore(tmp_path / f"{n}.tar", tmp_path / str(n))
        back = Store(tmp_path / str(n))
        seen.add(blobs.get(back, back.setting("newest") or ""))
    assert len(seen) == 5


def test_a_split_replaced_while_it_is_read_is_read_again(
    state: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.store import backup as module

    original, left = module._add, [1]

    def replacing(archive, name, path, listed):  # type: ignore[no-untyped-def]
        if name.startswith("split") and left:
            left.pop()
            old = state.folder / "split"
            shutil.copytree(old, tmp_path / "new")
            (tmp_path / "new" / "train.jsonl").write_text('{"new": 1}\n')
            old.rename(tmp_path / "gone")
            (tmp_path / "new").rename(old)
        original(archive, name, path, listed)

    monkeypatch.setattr(module, "_add", replacing)
    backup(state, tmp_path / "a.tar")
    restore(tmp_path / "a.tar", tmp_path / "back")
    assert (tmp_path / "back" / "split" / "train.jsonl").read_text() == '{"new": 1}\n'
    assert not left


def test_another_database_is_told_where_to_go(state: Store, tmp_path: Path) -> None:
    class Elsewhere:
        folder, schema, address = state.folder, "assay_pets", "postgresql://db/assay"

        class engine:  # noqa: N801
            class dialect:  # noqa: N801
                name = "postgresql"

    with pytest.raises(BackupError, match="pg_dump --schema=assay_pets"):
        backup(Elsewhere(), tmp_path / "a.tar")  # type: ignore[arg-type]
    assert not (tmp_path / "a.tar").exists()


def _plain(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def _special(name: str, kind: bytes, to: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member, b""


EVIL: dict[str, Callable[[], tuple[tarfile.TarInfo, bytes]]] = {
    "parent": lambda: _plain("../evil"),
    "inner parent": lambda: _plain("blobs/../../evil"),
    "absolute": lambda: _plain("/tmp/evil"),
    "backslash": lambda: _plain("blobs\\..\\evil"),
    "hidden": lambda: _plain(".git/config"),
    "empty part": lambda: _plain("blobs//x"),
    "log of the database": lambda: _plain("assay.db-wal"),
    "cache": lambda: _plain("cache/vectors/x.npy"),
    "another database": lambda: _plain("database.json", b'{"folder": "x", "database": null}'),
    "symbolic link": lambda: _special("blobs/x", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": lambda: _special("blobs/x", tarfile.LNKTYPE, "assay.db"),
    "folder": lambda: _special("blobs/x", tarfile.DIRTYPE),
    "device": lambda: _special("blobs/x", tarfile.CHRTYPE),
    "pipe": lambda: _special("blobs/x", tarfile.FIFOTYPE),
    "twice": lambda: _plain("assay.db"),
    "below a file": lambda: _plain("assay.db/x"),
    "not in the manifest": lambda: _plain("blobs/zz/other"),
    "long": lambda: _plain("a" * 1001),
}


@pytest.mark.parametrize("what", EVIL)
def test_an_archive_of_somebody_else_writes_nothing(
    state: Store, tmp_path: Path, what: str
) -> None:
    good, bad = tmp_path / "good.tar", tmp_path / "bad.tar"
    backup(state, good)
    with tarfile.open(good) as source, tarfile.open(bad, "w") as archive:
        members = source.getmembers()
        for member in members[:-1]:
            archive.addfile(member, source.extractfile(member))
        evil, data = EVIL[what]()
        archive.addfile(evil, io.BytesIO(data))
        archive.addfile(members[-1], source.extractfile(members[-1]))
    before = {p for p in tmp_path.rglob("*") if "project" not in p.parts}
    with pytest.raises(BackupError, match="Nothing was restored"):
        restore(bad, tmp_path / "target" / ".assay")
    after = {p for p in tmp_path.rglob("*") if "project" not in p.parts}
    assert after - before <= {tmp_path / "target"}


def test_a_claim_of_size_is_not_believed(state: Store, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    member = tarfile.TarInfo("assay.db")
    member.size = 10**15
    file.write_bytes(member.tobuf() + b"\0" * 10240)
    with pytest.raises(BackupError, match="more files or bytes than it can contain"):
        restore(file, tmp_path / "t")
    with tarfile.open(file, "w:gz") as packed:
        packed.addfile(*(lambda m, d: (m, io.BytesIO(d)))(*_plain("assay.db", b"\0" * 10**6)))
    with pytest.raises(BackupError, match="Nothing was restored"):
        restore(file, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_path_is_no_address(state: Store, tmp_path: Path) -> None:
    """The database that is looked at is the one that was restored."""
    file = tmp_path / "a.tar"
    backup(state, file)
    for name in ("plain", "C# x", "50%25 off", "a?b"):
        restore(file, tmp_path / name / ".assay")
        assert Store(tmp_path / name / ".assay").setting("name") == state.setting("name")
    assert {p.name for p in tmp_path.iterdir()} == {
        "project", "a.tar", "plain", "C# x", "50%25 off", "a?b",
    }  # fmt: skip


def test_a_manifest_of_another_kind_and_a_damaged_database(state: Store, tmp_path: Path) -> None:
    for body, words in (
        (b"[]", "unknown format"),
        (b"{", "complete backup"),
        (json.dumps({"format": 2}).encode(), "newer version of Assay"),
        (json.dumps({"format": 1, "files": None}).encode(), "differs from the manifest"),
    ):
        file = tmp_path / "a.tar"
        with tarfile.open(file, "w") as archive:
            for name, data in (("assay.db", b"no database"), (MANIFEST, body)):
                member, _ = _plain(name, data)
                archive.addfile(member, io.BytesIO(data))
        with pytest.raises(BackupError, match=words):
            restore(file, tmp_path / "t")
    state.engine.dispose()
    with state.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    raw = bytearray((state.folder / "assay.db").read_bytes())
    raw[4096:8192] = b"\xff" * 4096
    _archive(tmp_path / "b.tar", bytes(raw))
    for name in ("t", "C# x"):
        with pytest.raises(BackupError, match="database is damaged"):
            restore(tmp_path / "b.tar", tmp_path / name)
        assert not (tmp_path / name).exists()


def _archive(file: Path, database: bytes) -> None:
    listed = {"assay.db": {"size": len(database), "sha256": hashlib.sha256(database).hexdigest()}}
    body = json.dumps({"format": 1, "made_at": "x", "files": listed}).encode()
    with tarfile.open(file, "w") as archive:
        for name, data in (("assay.db", database), (MANIFEST, body)):
            member, _ = _plain(name, data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    store = Store(folder / ".assay")
    blobs.put(store, b"a blob")
    backup(store, folder / "a.tar")
    return (folder / "a.tar").read_bytes()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_anywhere_is_noticed(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """Any byte changed or any end cut off: refused, or (in padding) restored as it was."""
    at = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    flip = data.draw(st.integers(1, 255))
    damaged = whole[:at] if cut else whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
    file, target = tmp_path / "a.tar", tmp_path / "t"
    file.write_bytes(damaged)
    shutil.rmtree(target, ignore_errors=True)
    try:
        restore(file, target)
    except BackupError:
        assert not target.exists()
        return
    found = Store(target)
    assert blobs.get(found, hashlib.sha256(b"a blob").hexdigest()) == b"a blob"
