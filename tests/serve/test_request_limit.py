"""One limit of requests at once for a key, over all servers of a database."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio.to_thread
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, event, func, select, update

from assay.accounts import request_leases
from assay.accounts.keys import create_key
from assay.accounts.request_leases import LASTS, choose_rest, choose_share
from assay.errors import StoreError
from assay.serve import request_limit
from assay.serve.auth import REQUESTS_AT_ONCE
from assay.serve.request_limit import LOOK_S, RENEW_S, RequestLimit
from assay.store.store import Store
from assay.store.tables import ApiKeyRow, RequestLeaseRow
from assay.store.tables.clock import database_time
from tests.accounts.passing_time import Clock
from tests.databases import new_database
from tests.figures import Figure
from tests.serve.running import running as running_server
from tests.serve.two_servers import Pair, soon, two_servers

MOST, SERVERS, STEPS = 20, 3, 400
_counts = st.integers(0, 200)


@given(need=_counts, free=_counts)
def test_a_share_is_what_is_needed_or_all_there_is(need: int, free: int) -> None:
    share = choose_share(need, free)
    assert min(need, free) <= share <= free
    assert free - share >= (free - need) // 2  # others find some, too


@given(held=_counts, peak=_counts, free=_counts)
def test_what_is_not_needed_comes_back_and_nothing_else(held: int, peak: int, free: int) -> None:
    rest = choose_rest(held, peak, free)
    assert min(held, peak) <= rest <= held
    if not peak:
        assert rest == 0
    # Where others have no room, all that is unused comes back within a few looks.
    for _ in range(3):
        rest = choose_rest(rest, peak, 0)
    assert rest == min(held, peak)


async def never(_: RequestLimit) -> None:
    """In the place of looks in the background: they come when the test says so."""


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that does other work as well."""
    monkeypatch.setattr(request_limit, "WAIT_S", 60.0)
    monkeypatch.setitem(request_leases._BOUNDS, "statement_timeout", "60s")


class World:
    """Servers of one PostgreSQL, and requests of one key."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.clock, self.luck = store, Clock(store), random.Random(seed)
        self.key = create_key(store, "p", "k", ["chat"])[0].id
        self.running = [0] * SERVERS
        self.servers = [self.server(number) for number in range(SERVERS)]
        self.outcomes = Counter[bool]()

    def server(self, number: int) -> RequestLimit:
        self.running[number] = 0
        return RequestLimit(self.store, MOST, lambda _: self.running[number], self.clock)

    async def ask(self, number: int) -> bool:
        admitted = await self.servers[number].admits(self.key)
        self.running[number] += admitted
        self.outcomes[admitted] += 1
        return admitted

    async def burst(self) -> None:
        """Of several at the same moment, at several servers."""
        asked = [self.luck.randrange(SERVERS) for _ in range(self.luck.randrange(1, 12))]
        await asyncio.gather(*(self.ask(number) for number in asked))

    async def burst_and_look(self) -> None:
        """What is given back, and what is asked for at the same moment."""
        self.clock.wait(timedelta(seconds=LOOK_S))
        await asyncio.gather(self.burst(), *(one.look() for one in self.servers))

    async def look_in_vain(self) -> None:
        """The database is away, or is not heard any more once it has done what was asked."""
        keep, is_done = request_leases.keep, self.luck.random() < 0.5

        def fail(*given: Any) -> None:
            if is_done:
                keep(*given)
            raise StoreError("it is away.")

        with patch.object(request_leases, "keep", fail):
            await self.look()
        await self.look()

    async def end(self) -> None:
        number = self.luck.randrange(SERVERS)
        self.running[number] -= self.luck.randint(0, self.running[number])

    async def look(self) -> None:
        self.clock.wait(timedelta(seconds=LOOK_S))
        await asyncio.gather(*(one.look() for one in self.servers))

    async def wait(self) -> None:
        """Those that live are never silent for as long as a lease lasts."""
        for _ in range(self.luck.randrange(1, 4)):
            self.clock.wait(LASTS / 2)
            await self.look()

    async def kill(self) -> None:
        """Its requests end with it."""
        number = self.luck.randrange(SERVERS)
        self.servers[number] = self.server(number)

    async def step(self) -> None:
        acts = [self.burst] * 6 + [self.end] * 4 + [self.look] * 3 + [self.wait, self.kill]
        acts += [self.burst_and_look] * 3 + [self.look_in_vain]
        await self.luck.choice(acts)()
        with self.store.engine.connect() as connection:
            held = connection.scalar(select(func.sum(RequestLeaseRow.amount))) or 0
        assert sum(self.running) <= held <= MOST


@pytest.mark.parametrize("seed", range(3))
def test_random_requests_at_three_servers_keep_to_the_limit(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(RequestLimit, "_look_on", never)
    be_patient(monkeypatch)
    world = World(Store(tmp_path, new_database(postgres)), seed)

    async def schedule() -> None:
        for _ in range(STEPS):
            await world.step()
        assert min(world.outcomes[True], world.outcomes[False]) > STEPS / 10
        # All but one die: what they held is there for the last one, once their leases have ended.
        world.running[1:] = [0] * (SERVERS - 1)
        for _ in range(3):
            world.clock.wait(LASTS / 2)
            await world.servers[0].look()
        while await world.ask(0):
            pass
        assert world.running == [MOST, 0, 0]
        # A database that was away: leases have ended, requests still run and count again.
        world.clock.wait(2 * LASTS)
        request_leases.hold(world.store, world.key, "another", 0, 0)  # removes what has ended
        await world.servers[0].look()
        assert not await world.ask(1)

    asyncio.run(schedule())


def test_a_key_far_from_its_limit_asks_once_and_is_renewed_every_three_seconds(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short its requests are, or long; and never beside SQLite."""
    monkeypatch.setattr(RequestLimit, "_look_on", never)
    store, running, now = Store(tmp_path, database), 0, 0.0
    key = create_key(store, "p", "k", ["chat"])[0].id
    limit = RequestLimit(store, MOST, lambda _: running, lambda: now)
    commits: list[object] = []
    event.listen(store.engine, "commit", commits.append)
    looks = 9

    async def ask() -> None:
        nonlocal running, now
        for lasting in (0, 3):
            for _ in range(looks):
                for _ in range(10):
                    running = 0
                    for _ in range(3):
                        assert await limit.admits(key)
                        running += 1
                running = lasting
                now += LOOK_S
                await limit.look()
        for _ in range(looks):  # three go on
            now += LOOK_S
            await limit.look()

    asyncio.run(ask())
    assert len(commits) == (0 if database.startswith("sqlite") else 1 + 3 * looks / RENEW_S)


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


@pytest.mark.slow
def test_two_servers_have_one_limit_and_one_that_is_killed_gives_its_part_back(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    with (
        two_servers(tmp_path, url=empty_postgres, monkeypatch=monkeypatch) as pair,
        ExitStack() as stack,
    ):
        store, name = pair.workspace.store, pair.workspace.name
        _, secret = create_key(store, name, "busy", ["chat"])
        # More at one server than at the other, as a balancer has it that goes by key.
        sent = [begin(stack, pair, number, secret) for number in [0] * 100 + [1] * 60]
        # What the first one does not need, the second has soon: up to the limit, and not beyond.
        for _ in range(100):
            more = [begin(stack, pair, 1, secret) for _ in range(8)]
            sent.extend(more)
            soon(lambda: running(sent) <= REQUESTS_AT_ONCE)
            if running(sent) == REQUESTS_AT_ONCE and not running(more):
                break
            time.sleep(LOOK_S / 2)
        else:
            pytest.fail("the second server never had what the first one did not need")
        assert Counter(map(end, sent))[400] == REQUESTS_AT_ONCE

        # The first one has all of it, and is killed.
        soon(lambda: held(store) == [])
        for _ in range(REQUESTS_AT_ONCE):
            begin(stack, pair, 0, secret)
        soon(lambda: sum(amount for amount, _ in held(store)) == REQUESTS_AT_ONCE)
        pair.servers[0].process.kill()
        pair.servers[0].process.wait(30)
        killed = time.monotonic()
        [(_, left)] = held(store)
        assert left <= LASTS
        assert end(begin(stack, pair, 1, secret)) == 429
        soon(lambda: end(begin(stack, pair, 1, secret)) == 400)
        lasted = time.monotonic() - killed
        figure("the part of a killed server came back after", f"{lasted:.0f} s")
        assert lasted < 3 * LASTS.total_seconds()


def held(store: Store) -> list[tuple[int, timedelta]]:
    """By each server: how many requests, and for how long."""
    query = select(RequestLeaseRow.amount, RequestLeaseRow.expires, database_time())
    with store.engine.connect() as connection:
        return [(amount, until - now) for amount, until, now in connection.execute(query)]


def begin(stack: ExitStack, pair: Pair, number: int, secret: str) -> socket.socket:
    """A request whose body is still coming: it runs, unless it is refused at once."""
    url = httpx.URL(pair.servers[number].url)
    sent = stack.enter_context(socket.create_connection((url.host, url.port or 0), timeout=90))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {url.host}\r\nTransfer-Encoding: chunked\r\n"
    )
    sent.sendall(f"{head}Authorization: Bearer {secret}\r\n\r\n".encode())
    return sent


def running(sent: Sequence[socket.socket]) -> int:
    """How many were not refused: no other answer can be there. More of their bodies comes, or the
    server would give them up after `BODY_S`."""
    found = 0
    for one in sent:
        one.setblocking(False)
        try:
            one.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            found += 1
            with suppress(OSError):  # refused at this moment
                one.send(b"800\r\n" + b" " * 0x800 + b"\r\n")
    return found


def end(sent: socket.socket) -> int:
    """Send the body, which is no JSON of a request; the status."""
    sent.setblocking(True)
    with suppress(OSError):  # it was refused, and the connection closed
        sent.sendall(b"2\r\n{}\r\n0\r\n\r\n")
    return int(sent.recv(12).split()[1])
