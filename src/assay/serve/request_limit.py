"""How many requests of a key run at once: on all servers together that share PostgreSQL.

    if await limit.admits(key): ...      # begin it before anything else is awaited

A server holds a part of what each key may have and begins requests within it without asking; see
`assay.accounts.request_leases`. Beside SQLite there is one server, which holds all of it.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio.to_thread

from assay.accounts import request_leases
from assay.accounts.request_leases import LASTS, choose_rest
from assay.errors import StoreError
from assay.store.store import Store

LOOK_S = 1.0
"""So often what is not needed is given back; a key without any for so long is asked for again."""
_T = TypeVar("_T")


@dataclass(slots=True)
class _Lease:
    """Of one key.

    Attributes:
        told: when the database last heard of it, in seconds of a clock that nobody sets.
        free: what nobody holds.
        peak: the most that ran at once since the last look.
        full: when the database last had no more.
    """

    held: int
    told: float
    free: int
    peak: int = 0
    full: float = -math.inf


class RequestLimit:
    """Of one server.

    Args:
        most: requests of a key at once.
        count: of a key, how many run here.
    """

    def __init__(
        self,
        store: Store,
        most: int,
        count: Callable[[str], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self.most, self._count, self._clock = store, most, count, clock
        self._is_alone = store.engine.dialect.name == "sqlite"
        self._server = f"server_{secrets.token_hex(8)}"
        self._leases: dict[str, _Lease] = {}
        self._asking = asyncio.Lock()  # one transaction at a time changes leases
        self._failed = -math.inf
        self._watch: asyncio.Task[None] | None = None

    async def admits(self, key: str) -> bool:
        """Whether a request may begin, which it then has to at once.

        Raises:
            StoreError: the database is away.
        """
        if self._is_alone:
            return self._count(key) < self.most
        began = self._clock()
        while self._count(key) >= self._held(key):
            async with self._asking:
                if began < self._failed:  # else each in the row would wait for what is away
                    raise StoreError("the database could not be asked how many requests run.")
                need = self._count(key) + 1
                if need > self._held(key) and not await self._hold(key, need):
                    return False
        lease = self._leases[key]
        lease.peak = max(lease.peak, self._count(key) + 1)
        return True

    async def look(self) -> None:
        """Give back what is not needed, and say that this server lives. Every second."""
        async with self._asking:
            now, amounts = self._clock(), dict[str, int]()
            for key, lease in self._leases.items():
                rest = choose_rest(lease.held, lease.peak, lease.free)
                lease.held, lease.peak = rest, self._count(key)
                amounts[key] = rest
            free = await self._call(request_leases.keep, self._server, amounts, self.most)
            for key in amounts:
                if key in free:
                    self._leases[key].told, self._leases[key].free = now, free[key]
                else:
                    del self._leases[key]
                if (count := self._count(key)) > self._held(key):  # its lease has expired
                    await self._hold(key, count)

    def _held(self, key: str) -> int:
        lease = self._leases.get(key)
        is_good = lease and self._clock() - lease.told < LASTS.total_seconds()
        return lease.held if lease and is_good else 0

    async def _hold(self, key: str, need: int) -> bool:
        """Hold room for so many requests; whether there is."""
        now, before = self._clock(), self._leases.get(key)
        if before and now - before.full < LOOK_S:
            return False
        share = await self._call(request_leases.hold, key, self._server, self.most, need)
        peak = max(self._count(key), before.peak if before else 0)
        lease = self._leases[key] = _Lease(share.held, now, share.free, peak)
        if share.held < need:
            lease.full = now
        if self._watch is None:
            self._watch = asyncio.create_task(self._look_on(), name="requests at once")
        return share.held >= need

    async def _call(self, work: Callable[..., _T], *given: Any) -> _T:
        """What a function returns that asks the database, called beside the event loop."""
        try:
            return await anyio.to_thread.run_sync(work, self._store, *given)
        except StoreError:
            self._failed = self._clock()
            raise

    async def _look_on(self) -> None:
        try:
            while self._leases:
                await asyncio.sleep(LOOK_S)
                try:
                    await self.look()
                except StoreError:  # away for a moment; whoever asks next is told
                    continue
        finally:
            self._watch = None
