"""Locks of all that use one state: of one process at a time, and gone with it."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, event, make_url, text
from tests.databases import PostgresServer

from assay.errors import StoreError
from assay.store import locks
from assay.store.locks import LockHeldError, in_use, is_in_use, lock_at_once, lock_for_long
from assay.store.store import Store

HOLD = """
import sys, time
from pathlib import Path
from assay.store.store import Store
with Store(Path(sys.argv[1]), sys.argv[2]).lock("x.lock"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_process_has_a_lock_and_who_waits_has_it_when_that_is_killed(
    database: str, tmp_path: Path
) -> None:
    # On PostgreSQL each may see a folder of its own.
    there = tmp_path / ("there" if database.startswith("postgresql") else "here")
    store, waits = Store(tmp_path / "here", database), []
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(there), database], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    def take() -> bool:
        with store.lock("x.lock", lambda: waits.append(True)):
            return True

    with ThreadPoolExecutor(2) as pool:
        taken = pool.submit(take)
        while not waits:
            assert not taken.done()
            time.sleep(0.01)
        with store.lock("y.lock", lambda: waits.append(False)):
            pass
        time.sleep(0.2)
        assert not taken.done()
        holder.kill()
        assert taken.result(timeout=60)
        holder.wait()
        # Threads of one process, too; and it comes back from a block that raises.
        with pytest.raises(ZeroDivisionError), store.lock("x.lock"):
            _ = 1 // 0
        with store.lock("x.lock"):
            again = pool.submit(take)
            while len(waits) < 2:
                time.sleep(0.01)
        assert again.result(timeout=60)
    assert waits == [True, True]


def test_a_lock_that_is_not_waited_for(database: str, tmp_path: Path) -> None:
    there = tmp_path / ("there" if database.startswith("postgresql") else "here")
    one, two = Store(tmp_path / "here", database), Store(there, database)
    with one.lock("x.lock"):
        for store in (one, two):
            with pytest.raises(LockHeldError), lock_at_once(store, "x.lock"):
                pytest.fail("two have it")

    def take() -> bool:
        with lock_at_once(one, "x.lock", within=60):
            return True

    with ThreadPoolExecutor(1) as pool:
        with lock_at_once(two, "x.lock"):
            taken = pool.submit(take)
            time.sleep(0.2)
            assert not taken.done()
        assert taken.result(timeout=60)


def test_a_lock_for_long_is_waited_for_no_longer_than_was_said(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its two locks, one is held in the folder for a while, the other elsewhere all the time."""
    here, there = (Store(tmp_path / name, empty_postgres) for name in ("here", "there"))
    now = 0.0
    with ExitStack() as in_folder, there.lock("x.lock"):
        in_folder.enter_context(here.lock_here("x.lock"))

        def wait(seconds: float) -> None:
            nonlocal now
            now += seconds
            if now >= 100:
                in_folder.close()

        monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: now, sleep=wait))
        with pytest.raises(LockHeldError):
            lock_for_long(here, "x.lock", within=150, lost=pytest.fail).__enter__()
    assert now == pytest.approx(150)


def test_what_is_in_use_is_known_on_other_machines_until_its_process_ends(
    tmp_path: Path, empty_postgres: str
) -> None:
    """Nor does a server end it that ends who is idle; where the server goes away, so does it, and
    nobody is told."""
    one, two = (Store(tmp_path / name, empty_postgres) for name in "ab")
    name = make_url(empty_postgres).database
    with one.engine.begin() as connection:
        limit = f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = 2000"
        connection.execute(text(limit))
    one.engine.dispose()  # connections that are made from now on have it
    two.engine.dispose()
    assert not is_in_use(two, "x")
    with in_use(one, "x"):
        with in_use(one, "x"), in_use(two, "x"):  # several at once
            pass
        time.sleep(3)
        assert is_in_use(one, "x")
        assert is_in_use(two, "x")
        assert not is_in_use(two, "y")
        cut(two)
        assert not is_in_use(two, "x")


def test_locks_of_two_schemas_are_two(tmp_path: Path, empty_postgres: str) -> None:
    first, second = (Store(tmp_path / name, empty_postgres, schema=name) for name in ("a", "b"))
    waits: list[str] = []
    with first.lock("x", lambda: waits.append("a")), second.lock("x", lambda: waits.append("b")):
        assert waits == []


def test_the_lock_of_a_machine_that_vanished_ends_in_minutes(
    tmp_path: Path, own_postgres: PostgresServer
) -> None:
    own_postgres.stop()
    store = Store(tmp_path, own_postgres.start_on_tcp())  # a Unix socket has no such limits
    found: list[dict[str, Any]] = []

    def look(connection: Connection) -> None:
        query = "SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp_keepalives_%'"
        found.append({row.name: row.setting for row in connection.execute(text(query))})

    event.listen(store.engine, "commit", look)
    with store.lock("x"):
        pass
    store.set("word", "kept")  # over the same connection
    held, after = found
    assert held == {
        "tcp_keepalives_idle": "60",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "6",
    }
    assert not set(after.items()) & set(held.items())


def test_a_lock_that_the_server_has_taken_away_is_told(tmp_path: Path, empty_postgres: str) -> None:
    store = Store(tmp_path, empty_postgres, schema="a")
    with pytest.raises(StoreError), store.lock("x"):
        cut(store)
    with store.lock("x"):
        pass


def cut(store: Store) -> None:
    """End all connections to a database but one."""
    query = (
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with store.engine.begin() as connection:
        connection.execute(text(query))
