"""Batches are answered here, in the server: by engines that are loaded once, and in the same way as
requests that come over HTTP.

    runner = BatchRunner(workspace, app, others, at_once=4)
    task = asyncio.create_task(runner.run())
    ...
    await runner.stop()

The queue says which server has a batch; one that dies is followed by another, which goes on behind
the answers that are on disk (`assay.jobs.batch_answers`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import FastAPI

from assay.defaults import BATCH_REQUESTS
from assay.jobs import queue
from assay.jobs.batches import SERVED
from assay.jobs.identity import worker_name
from assay.jobs.left_batches import settle_left
from assay.project.workspace import Workspace
from assay.serve.batch_providers import cancel_left
from assay.serve.batch_requests import Places
from assay.serve.batch_run import BatchRun
from assay.serve.batch_work import BatchWork

MOST_BATCHES = 16
"""Of one server, whose requests take turns; those that wait for providers do not count."""
MOST_WAITING = 200
"""Batches of one server, those that wait among them."""
LOOK_S = 1.0
SETTLE_S = 10.0
CANCEL_S = 60.0
"""Before providers that have not cancelled a batch are asked again."""
STOP_S = 5.0
"""After a signal to stop, answers under way may take so long to end."""
_THREADS = 4
_PROVIDER_THREADS = 16
"""Each waits for a provider, up to half an hour for a file."""

log = logging.getLogger("assay.serve")
_T = TypeVar("_T")


class BatchRunner:
    """Does the batches of a folder.

    Args:
        app: that answers their requests, see `batch_requests.create_line_app`.
        others: how many other requests are under way.
        at_once: requests of all batches that are answered at the same time.
    """

    def __init__(
        self,
        workspace: Workspace,
        app: FastAPI,
        others: Callable[[], int],
        at_once: int = BATCH_REQUESTS,
    ) -> None:
        self._workspace, self._app = workspace, app
        self._places = Places(at_once, others)
        self._limits: dict[str, anyio.CapacityLimiter] = {}
        self._running: dict[asyncio.Task[None], BatchRun] = {}
        self._cancelling: asyncio.Task[None] | None = None
        self._is_stopped = asyncio.Event()

    async def run(self) -> None:
        """Look for batches until `stop` is called."""
        settled = -SETTLE_S
        while not self._is_stopped.is_set():
            try:
                if time.monotonic() - settled >= SETTLE_S:
                    settled = time.monotonic()
                    left = await self.at_length(settle_left, self._workspace.store)
                    if left and (self._cancelling is None or self._cancelling.done()):
                        self._cancelling = asyncio.create_task(self._cancel(left))
                await self._take()
            except Exception as error:  # a database that is away for a moment
                log.warning("batches could not be looked for: %s", error)
            with anyio.move_on_after(LOOK_S):
                await self._is_stopped.wait()

    async def _cancel(self, left: list[str]) -> None:
        """Cancel what providers do for batches that are over, which may take them minutes: nothing
        else waits for it."""
        for id in left:
            if self._is_stopped.is_set():
                return
            try:
                await self.at_provider(cancel_left, self._workspace, id)
            except Exception as error:  # those of other batches are to be cancelled all the same
                log.warning("%s: what providers do for it was not cancelled: %s", id, error)
        with anyio.move_on_after(CANCEL_S):
            await self._is_stopped.wait()

    async def stop(self) -> None:
        """Let what is under way end for a moment, and put the batches back."""
        self._is_stopped.set()
        for one in self._running.values():
            one.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_S)
        left = list(self._running)
        if self._cancelling is not None:
            left.append(self._cancelling)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def in_thread(self, work: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """What a function returns, called beside the event loop."""
        return await self._call("moments", _THREADS, partial(work, *arguments, **named))

    async def at_length(self, work: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """As `in_thread`, of what may take minutes: the beats of other batches do not wait for it,
        or they would be taken for dead."""
        return await self._call("minutes", _THREADS, partial(work, *arguments, **named))

    async def at_provider(self, work: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """As `at_length`, of what a provider may let wait: no batch begins or ends later for it."""
        return await self._call("providers", _PROVIDER_THREADS, partial(work, *arguments, **named))

    async def _call(self, kind: str, most: int, call: Callable[[], _T]) -> _T:
        if kind not in self._limits:  # made where the event loop runs
            self._limits[kind] = anyio.CapacityLimiter(most)
        return await anyio.to_thread.run_sync(call, limiter=self._limits[kind])

    def _has_room(self) -> bool:
        at_work = sum(not one.is_waiting for one in self._running.values())
        return at_work < MOST_BATCHES and len(self._running) < MOST_WAITING

    async def _take(self) -> None:
        while self._has_room() and not self._is_stopped.is_set():
            job = await self.in_thread(queue.claim, self._workspace.store, worker_name(), SERVED)
            if job is None:
                return
            if self._is_stopped.is_set():  # while it was claimed
                await self.in_thread(queue.release, self._workspace.store, job)
                return
            one = BatchRun(
                BatchWork(
                    self._workspace,
                    job,
                    self._app,
                    self._places,
                    self.in_thread,
                    self.at_length,
                    self.at_provider,
                )
            )
            task = asyncio.create_task(one.run(), name=job.id)
            self._running[task] = one
            task.add_done_callback(lambda task: self._running.pop(task, None))
