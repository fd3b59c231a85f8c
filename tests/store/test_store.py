"""The store keeps what it is given, whole, and says so when it cannot."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from assay.errors import AssayError, StoreError
from assay.store import blobs
from assay.store.files import (
    append_durable,
    new_folder,
    recover_folder,
    write_atomic,
    write_atomic_lines,
)
from assay.store.store import Store
from assay.store.tables import Table


def test_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Table.metadata) == []


def test_a_server_that_is_away_is_no_full_disk(tmp_path: Path) -> None:
    """Whatever the words of its address are."""
    with pytest.raises(StoreError) as caught:
        Store(tmp_path, f"postgresql+psycopg://a@/b?host={tmp_path / 'workspace' / 'locked'}")
    assert "reached" in (caught.value.fix or "")


def test_a_server_that_goes_silent_counts_as_away_after_a_while(
    tmp_path: Path, empty_postgres: str
) -> None:
    limits = {
        "connect_timeout": "10",
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
    }
    named = {"connect_timeout": "2", "keepalives_idle": "5", "tcp_user_timeout": "9000"}
    for given in ({}, named):
        more = "".join(f"&{name}={value}" for name, value in given.items())
        store = Store(tmp_path, f"{empty_postgres}{more}")
        with store.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            assert driver.info.get_parameters().items() >= {**limits, **given}.items()


def test_more_requests_than_connections_are_a_sentence(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, database)
    monkeypatch.setattr(store.engine.pool, "_timeout", 0.01)
    with ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(store.engine.connect())
        with pytest.raises(StoreError, match="in use"):
            store.setting("word")
        if database.startswith("postgresql"):  # elsewhere a lock is a file
            with pytest.raises(StoreError, match="in use"), store.lock("x"):
                pass
    assert store.setting("word") is None


def test_a_store_at_the_newest_migration_is_opened_without_alembic(tmp_path: Path) -> None:
    Store(tmp_path)
    script = (
        "import sys; from pathlib import Path; from assay.store.store import Store\n"
        "Store(Path(sys.argv[1])); sys.exit('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0


def test_settings_and_blobs_survive_reopening(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.set("split", "a")
    first.set("split", "b")
    name = blobs.put(first, b"bytes")
    second = Store(tmp_path)
    assert second.setting("split") == "b"
    assert second.setting("none") is None
    assert blobs.get(second, name) == b"bytes"


def test_a_store_that_is_dropped_leaves_no_file_open(tmp_path: Path) -> None:
    """Of its engine nothing stays behind, though statements that it compiled are kept."""
    Store(tmp_path).set("name", "value")
    engine = weakref.ref((store := Store(tmp_path)).engine)
    store.set("name", "another")
    del store
    gc.collect()
    assert engine() is None


def test_a_changed_blob_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = blobs.put(store, b"bytes")
    (tmp_path / "blobs" / name[:2] / name).write_bytes(b"other")
    with pytest.raises(AssayError, match="changed or damaged"):
        blobs.get(store, name)
    with pytest.raises(AssayError, match="no blob"):
        blobs.get(store, "0" * 64)


def test_a_damaged_or_newer_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "assay.db").write_bytes(b"this is no database at all, not in the least" * 50)
    with pytest.raises(AssayError, match="cannot be used"):
        Store(tmp_path)
    newer = Store(tmp_path / "newer")
    with newer.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(AssayError, match="newer version"):
        Store(tmp_path / "newer")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")

    def lines():
        yield "new\n"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomic_lines(path, lines())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_does_not_fit_behind_a_file_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "below" / "file"
    assert append_durable(path, b"one two") == 7
    assert path.stat().st_mode & 0o777 == 0o600
    assert append_durable(path, b"2", at=4) == 5
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:2]))  # in parts
    assert append_durable(path, b" three") == 11
    left = [2]

    def full(handle: int, data: memoryview) -> int:
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data[: left.pop()])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError):
        append_durable(path, b" four")
    assert path.read_bytes() == b"one 2 three"


def test_a_path_is_no_address(tmp_path: Path) -> None:
    """What means something in a URL is a letter in the name of a folder."""
    for number, name in enumerate(("x?1", "x?2", "a%20b", "C# x", "50% off")):
        store = Store(tmp_path / name / ".assay")
        store.set("which", str(number))
        assert (tmp_path / name / ".assay" / "assay.db").exists()
        assert Store(tmp_path / name / ".assay").setting("which") == str(number)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["50% off", "C# x", "a%20b", "x?1", "x?2"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"

    def half() -> None:
        with new_folder(target) as draft:
            (draft / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert list(tmp_path.iterdir()) == []
    with new_folder(target) as draft:
        (draft / "one").write_text("1")
    with new_folder(target) as draft:
        (draft / "two").write_text("2")
    assert [p.name for p in target.iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_what_was_being_replaced_is_never_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    with new_folder(target) as draft:
        (draft / "one").write_text("1")
    real = os.replace

    def fails(source: Path, place: Path) -> None:
        if place == target and source.suffix == ".part":
            raise OSError("the disk is gone")
        real(source, place)

    def replace() -> None:
        with new_folder(target) as draft:
            (draft / "two").write_text("2")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fails)
        with pytest.raises(OSError, match="gone"):
            replace()
    assert [p.name for p in target.iterdir()] == ["one"]
    if (child := os.fork()) == 0:
        patch = pytest.MonkeyPatch()
        patch.setattr(
            os, "replace", lambda a, b: os._exit(9) if b == target else real(a, b)
        )  # as `kill -9` would, between the two renames
        try:
            replace()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not target.exists()
    recover_folder(target)
    assert [p.name for p in target.iterdir()] == ["one"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    recover_folder(target)  # nothing is left to be done
    assert [p.name for p in target.iterdir()] == ["one"]


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    code = (
        "import os, pathlib, assay.store.files as f\n"
        "os.symlink('/dev/full', '.x.0.part')\n"
        "f.secrets.token_hex, f._NEW = lambda size: '0', os.O_WRONLY\n"
        "f.write_atomic(pathlib.Path('x'), b'data')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "the disk is full; nothing was changed" in done.stderr


def test_ctrl_c_while_a_draft_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.open

    def interrupted(*given: Any) -> int:
        os.close(make(*given))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


def test_kill_during_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    code = (
        "import pathlib, sys, assay.store.files as f\n"
        "def lines():\n"
        "    yield 'new'\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
        f"f.write_atomic_lines(pathlib.Path({str(path)!r}), lines())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert path.read_text() == "old"
