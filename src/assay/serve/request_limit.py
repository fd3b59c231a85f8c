"""How many requests of a key run at once: on all servers together that share PostgreSQL.

    if await limit.admits(key): ...      # begin it before anything else is awaited

A server holds a part of what each key may have and begins requests within it without asking; see
`assay.accounts.request_leases`. Where that cannot be had, since the database cannot be written or
does not answer in time, nobody is refused for it: the key may have all of it at this server, as at
the only one, until there is a lease again. Beside SQLite each server counts for itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from assay.accounts import request_leases
from assay.accounts.request_leases import LASTS, choose_rest
from assay.errors import StoreError
from assay.store.store import Store

LOOK_S = 1.0
"""So often what is not needed is given back; a key without any for so long is asked for again."""
RENEW_S = 3.0
"""A lease of which nothing changes is renewed after so long."""
WAIT_S = 3.0
"""So long a request waits for a lease; then the key has none."""
_THREADS = 4
_T = TypeVar("_T")
log = logging.getLogger("assay.serve")


@dataclass(slots=True)
class _Lease:
    """Of one key.

    Attributes:
        told_at: when the database last heard of it, in seconds of a clock that nobody sets.
        free: what nobody holds.
        peak: the most that ran at once since the last look.
        full_at: when the database last had no more.
        alone_until: until then this server does without.
        work: what changes it in the database, one at a time.
        waiting: requests that wait for that.
    """

    held: int = 0
    told_at: float = -math.inf
    free: int = 0
    peak: int = 0
    full_at: float = -math.inf
    alone_until: float = -math.inf
    work: asyncio.Task[None] | None = None
    waiting: int = 0


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
        self._is_only = store.engine.dialect.name == "sqlite"
        self._server = f"server_{secrets.token_hex(8)}"
        self._leases: dict[str, _Lease] = {}
        # Routes that are no coroutines may keep all of the threads that are there for everybody.
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._watch: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def admits(self, key: str) -> bool:
        """Whether a request may begin, which it then has to at once."""
        if self._is_only:
            return self._count(key) < self.most
        lease = self._leases.setdefault(key, _Lease())
        if self._watch is None:
            self._watch = asyncio.create_task(self._look_on(), name="requests at once")
        while (count := self._count(key)) + lease.waiting < self.most:
            now = self._clock()
            if count < (self.most if now < lease.alone_until else self._held(lease)):
                lease.peak = max(lease.peak, count + 1)
                return True
            if now - lease.full_at < LOOK_S:
                break
            lease.waiting += 1
            try:
                work = lease.work or self._begin(self._hold(key, lease), lease)
                done, _ = await asyncio.wait([work], timeout=WAIT_S)
            finally:
                lease.waiting -= 1
            if not done:
                self._do_without(lease, TimeoutError(f"no answer in {WAIT_S:.0f} s"))
        return False

    async def look(self) -> None:
        """Give back what is not needed, and say that this server lives. Every second."""
        now, amounts, missing = self._clock(), dict[str, int](), list[str]()
        for key, lease in list(self._leases.items()):
            if lease.work:
                continue
            count, held = self._count(key), self._held(lease)
            if count > held:  # its lease has expired, or could not be had
                missing.append(key)
            elif held:
                rest = choose_rest(held, lease.peak, lease.free)
                lease.peak = count
                if rest < held or now - lease.told_at >= RENEW_S:
                    lease.held = amounts[key] = rest
            elif not lease.waiting and now >= lease.alone_until:
                del self._leases[key]
        works = list[asyncio.Task[None]]()
        if missing and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(
                self._renew(missing), name="leases that are missing"
            )
            works.append(self._renewal)
        if amounts:
            works.append(self._begin(self._keep(amounts), *map(self._leases.__getitem__, amounts)))
        if works:
            done, _ = await asyncio.wait(works, timeout=WAIT_S)
            for one in done:
                one.result()

    async def close(self) -> None:
        """Give back all that this server holds; it begins no more requests."""
        for task in (self._watch, self._renewal):
            if task:
                task.cancel()
        if works := {lease.work for lease in self._leases.values() if lease.work}:
            await asyncio.wait(works, timeout=WAIT_S)
        if self._leases:
            try:
                with anyio.fail_after(WAIT_S):
                    await self._call(request_leases.leave, self._server)
            except (StoreError, TimeoutError) as error:
                log.warning("what keys may have at this server comes back later: %s", error)

    def _held(self, lease: _Lease) -> int:
        is_good = self._clock() - lease.told_at < LASTS.total_seconds()
        return lease.held if is_good else 0

    def _begin(self, work: Coroutine[Any, Any, None], *leases: _Lease) -> asyncio.Task[None]:
        """Work that nothing else does with these leases meanwhile."""

        async def run() -> None:
            try:
                await work
            finally:
                for lease in leases:
                    lease.work = None

        task = asyncio.create_task(run(), name="leases of requests")
        for lease in leases:
            lease.work = task
        return task

    async def _renew(self, keys: list[str]) -> None:
        """Ask again for what runs, one key after the other: slow ones leave threads to others, and
        none has work that waits for another's."""
        for key in keys:
            lease = self._leases.get(key)
            if lease and not lease.work and self._count(key) > self._held(lease):
                # Unlike `await`, it leaves the work to itself where this task is cancelled.
                await asyncio.wait([self._begin(self._hold(key, lease), lease)])

    async def _hold(self, key: str, lease: _Lease) -> None:
        """Hold room for what runs, and for what waits to."""
        now, need = self._clock(), self._count(key) + lease.waiting
        try:
            share = await self._call(request_leases.hold, key, self._server, self.most, need)
        except Exception as error:  # whatever it is, the key was good
            self._do_without(lease, error)
            return
        lease.held, lease.free, lease.told_at = share.held, share.free, now
        lease.alone_until = -math.inf
        if share.held < need:
            lease.full_at = now

    async def _keep(self, amounts: dict[str, int]) -> None:
        now = self._clock()
        try:
            free = await self._call(request_leases.keep, self._server, amounts, self.most)
        except StoreError:  # told again in a second; what ends meanwhile is asked for anew
            return
        for key in amounts:
            lease = self._leases[key]
            if key in free:
                lease.told_at, lease.free = now, free[key]
            else:
                lease.held = 0

    def _do_without(self, lease: _Lease, error: Exception) -> None:
        now = self._clock()
        if now >= lease.alone_until:
            log.warning("a key's requests at once are counted at this server alone: %s", error)
        lease.alone_until = now + LASTS.total_seconds()

    async def _call(self, work: Callable[..., _T], *given: Any) -> _T:
        """What a function returns that asks the database, called beside the event loop."""
        return await anyio.to_thread.run_sync(
            work, self._store, *given, limiter=self._threads, abandon_on_cancel=True
        )

    async def _look_on(self) -> None:
        try:
            while self._leases:
                await asyncio.sleep(LOOK_S)
                try:
                    await self.look()
                except Exception:
                    log.exception("leases of requests were not renewed; trying again")
        finally:
            self._watch = None
