"""One limit of requests at once for a key, over all servers of a database."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from assay.accounts import request_leases
from assay.accounts.keys import create_key
from assay.accounts.request_leases import LASTS, choose_rest, choose_share
from assay.errors import StoreError
from assay.serve.auth import REQUESTS_AT_ONCE
from assay.serve.request_limit import LOOK_S, RENEW_S, RequestLimit
from assay.store.store import Store
from assay.store.tables import RequestLeaseRow
from tests.accounts.passing_time import Clock
from tests.databases import new_database
from tests.serve.request_leases import be_patient, begin, end, never, running
from tests.serve.two_servers import soon, two_servers

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


@pytest.mark.slow
def test_two_servers_have_one_limit(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
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
