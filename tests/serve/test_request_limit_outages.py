"""The limit of requests at once where a lease is late, or cannot be had."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio.to_thread
import pytest
from sqlalchemy import Connection, delete, event, select, update

from assay.accounts import request_leases
from assay.accounts.keys import create_key
from assay.accounts.request_leases import LASTS
from assay.errors import StoreError
from assay.serve import request_limit
from assay.serve.request_limit import RENEW_S, RequestLimit
from assay.store.store import Store
from assay.store.tables import ApiKeyRow, RequestLeaseRow
from assay.store.tables.clock import database_time
from tests.databases import new_database
from tests.serve.request_leases import be_patient, held, never
from tests.serve.running import running as running_server

MOST = 20


class Server:
    """A limit of one server, and what runs there."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.running = store, Counter[str]()
        self.limit = RequestLimit(store, MOST, self.running.__getitem__, clock)

    async def ask(self, key: str, times: int = 1) -> list[bool]:
        """So many at the same moment."""
        return await asyncio.gather(*(self._begin(key) for _ in range(times)))

    async def _begin(self, key: str) -> bool:
        is_admitted = await self.limit.admits(key)
        self.running[key] += is_admitted
        return is_admitted


@pytest.fixture
def server(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Its looks come when the test says so."""
    monkeypatch.setattr(RequestLimit, "_look_on", never)
    be_patient(monkeypatch)
    return Server(Store(tmp_path, new_database(postgres)))


def test_a_server_that_hangs_in_a_transaction_keeps_no_other_one_waiting(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = server.store
    locked, free = (create_key(store, "p", name, ["chat"])[0].id for name in ("a", "b"))
    for key in (locked, free):
        request_leases.hold(store, key, "gone", MOST, 1)
    gone = update(RequestLeaseRow).values(expires=database_time(-LASTS))
    with store.engine.begin() as connection:
        connection.execute(gone)
    monkeypatch.setitem(request_leases._BOUNDS, "statement_timeout", "1s")
    with store.engine.begin() as connection:
        connection.execute(select(RequestLeaseRow).with_for_update())
        connection.execute(select(ApiKeyRow).where(ApiKeyRow.id == locked).with_for_update())
        # A lease that is locked may be renewed at this moment: it counts.
        held = request_leases.hold(store, free, "other", MOST, MOST).held
        assert 0 < held < MOST
        with pytest.raises(StoreError, match="statement timeout"):
            request_leases.hold(store, locked, "other", MOST, 1)
        request_leases.sweep(store)
        assert asyncio.run(server.ask(locked)) == [True]
    assert request_leases.hold(store, free, "other", MOST, MOST).held == MOST

    # Its connection is closed by the database: that is no lock for ever.
    bounds, idle, taken = request_leases._BOUNDS, "idle_in_transaction_session_timeout", 0
    monkeypatch.setitem(bounds, "statement_timeout", "10s")
    usual = bounds[idle]
    monkeypatch.setitem(bounds, idle, "1s")
    with suppress(StoreError), request_leases._begin(store) as connection:
        monkeypatch.setitem(bounds, idle, usual)
        connection.execute(select(ApiKeyRow).where(ApiKeyRow.id == locked).with_for_update())
        taken = request_leases.hold(store, locked, "other", MOST, MOST).held
    assert taken == MOST


def test_who_waits_for_a_lease_waits_for_no_other_key_and_not_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting requests of a key are as many as may run; where nothing comes, they run."""
    store, go, calls = server.store, threading.Event(), Counter[str]()
    slow, other, full = (create_key(store, "p", name, ["chat"])[0].id for name in "abc")
    request_leases.hold(store, full, "other", MOST, MOST)
    hold = request_leases.hold

    def wait(store: Store, key: str, *given: Any) -> Any:
        calls[key] += 1
        if key == slow:
            go.wait(60)
            raise StoreError("it is away.")
        return hold(store, key, *given)

    monkeypatch.setattr(request_leases, "hold", wait)

    async def ask() -> None:
        began = time.monotonic()
        with patch.object(request_limit, "WAIT_S", 3.0):  # others are patient
            waiting = asyncio.create_task(server.ask(slow, MOST))
            await asyncio.sleep(0.1)
        assert await asyncio.wait_for(server.ask(slow), 30) == [False]
        assert await server.ask(other) == [True]
        assert await server.ask(full, 5) == [False] * 5
        await server.limit.look()  # which begins nothing anew
        assert not waiting.done() or time.monotonic() - began > 3
        assert await waiting == [True] * MOST
        assert await server.ask(slow) == [False]
        # A key that fails is no reason to count others by themselves.
        assert await server.ask(full) == [False]
        go.set()

    asyncio.run(ask())
    assert calls[slow] == calls[other] == 1


def test_however_many_leases_are_slow_to_renew_another_key_has_its_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose turn to be renewed has not come; and a stopped server renews no other."""
    store, passed, go = server.store, 0.0, threading.Event()
    began, ended = list[str](), list[str]()
    *slow, other = (create_key(store, "p", name, ["chat"])[0].id for name in "abcdefg")
    server = Server(store, lambda: time.monotonic() + passed)
    hold = request_leases.hold

    def wait(store: Store, key: str, *given: Any) -> Any:
        began.append(key)
        if key in slow:
            go.wait(60)
        share = hold(store, key, *given)
        ended.append(key)
        return share

    async def ask() -> None:
        nonlocal passed
        for key in (*slow, other):
            await server.ask(key)
        with store.engine.begin() as connection:
            connection.execute(delete(RequestLeaseRow))
        passed = 2 * LASTS.total_seconds()
        monkeypatch.setattr(request_leases, "hold", wait)
        look = asyncio.create_task(server.limit.look())
        while not began:
            await asyncio.sleep(0.01)
        try:
            assert await asyncio.wait_for(server.ask(other), 20) == [True]
            close = asyncio.create_task(server.limit.close())
            await asyncio.sleep(0.3)
        finally:
            go.set()
        await asyncio.gather(look, close, return_exceptions=True)
        while set(ended) < set(began):
            await asyncio.sleep(0.01)
        assert began == [slow[0], other]

    asyncio.run(ask())
    assert held(store) == []


def test_a_database_that_cannot_be_written_refuses_nobody_at_fewer_than_one_server_has(
    server: Server,
) -> None:
    store, second = server.store, Server(server.store)
    keys = [create_key(store, "p", name, ["chat"])[0].id for name in "abc"]

    def read_only(connection: Connection) -> None:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    async def ask() -> None:
        event.listen(store.engine, "begin", read_only)
        for one in (server, second):
            for key in keys:
                assert Counter(await one.ask(key, MOST + 5)) == {True: MOST, False: 5}
        await server.limit.look()
        event.remove(store.engine, "begin", read_only)
        assert held(store) == []
        request_leases.hold(store, keys[0], "other", MOST, MOST)
        await server.limit.look()  # what runs is counted for all servers again
        assert sorted(amount for amount, _ in held(store)) == [0, MOST, MOST, MOST]
        server.running[keys[0]] = 0
        assert await server.ask(keys[0]) == [False]

    asyncio.run(ask())


def test_one_failure_leaves_other_keys_their_leases(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does it end what renews them, whatever it is."""
    store, passed, failing = server.store, 0.0, True
    keys = [create_key(store, "p", name, ["chat"])[0].id for name in "abc"]
    server = Server(store, lambda: time.monotonic() + passed)
    hold, keep, calls = request_leases.hold, request_leases.keep, 0

    def fail_once(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("by mistake")
        return keep(*given)

    def fail_first(store: Store, key: str, *given: Any) -> Any:
        if key == keys[0] and failing:
            raise RuntimeError("by mistake")
        return hold(store, key, *given)

    async def ask() -> None:
        nonlocal passed, failing
        for key in keys:
            await server.ask(key)
        with store.engine.begin() as connection:
            connection.execute(delete(RequestLeaseRow))
        passed = 2 * LASTS.total_seconds()
        monkeypatch.setattr(request_leases, "hold", fail_first)
        await server.limit.look()
        assert len(held(store)) == 2

        failing = False
        monkeypatch.undo()
        monkeypatch.setattr(request_leases, "keep", fail_once)
        monkeypatch.setattr(request_limit, "LOOK_S", 0.05)
        passed += RENEW_S
        watch = asyncio.create_task(server.limit._look_on())
        while len(held(store)) < 3 or calls < 2:
            await asyncio.sleep(0.05)
        watch.cancel()
        await server.limit.close()

    asyncio.run(asyncio.wait_for(ask(), 30))
    assert held(store) == []
    assert "by mistake" in caplog.text


def test_a_lease_waits_for_no_thread_of_a_route(server: Server) -> None:
    key, over = create_key(server.store, "p", "k", ["chat"])[0].id, threading.Event()

    async def ask() -> None:
        threads = anyio.to_thread.current_default_thread_limiter()
        routes = [
            asyncio.create_task(anyio.to_thread.run_sync(over.wait, 60))
            for _ in range(int(threads.total_tokens))
        ]
        while threads.available_tokens:
            await asyncio.sleep(0.01)
        assert await server.ask(key) == [True]
        assert len(held(server.store)) == 1
        over.set()
        await asyncio.gather(*routes)

    asyncio.run(ask())


def test_a_server_that_is_stopped_in_good_order_gives_its_part_back(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RequestLimit, "_look_on", never)  # a look gives it back as well
    monkeypatch.setenv("ASSAY_DATABASE", empty_postgres)
    with running_server(tmp_path) as server, server.http() as http:
        assert http.get("/v1/models").status_code == 200
        assert len(held(server.workspace.store)) == 1
    assert held(server.workspace.store) == []
