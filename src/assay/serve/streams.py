"""Bridges engines' blocking streams to asyncio, and back: who hangs up frees the slot."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from fastapi.responses import StreamingResponse
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from assay.generate.stream import End, Piece
from assay.project.answer.answering import Item, Receipt
from assay.serve.errors import ApiError

_T = TypeVar("_T")


class ClientGoneError(ApiError):
    """The client has hung up; nobody reads an answer."""

    def __init__(self) -> None:
        super().__init__(499, "The client has disconnected.")


class MergedStreams(AsyncIterator[tuple[int, Piece | End]]):
    """The items of blocking streams with the number of each, as they come.

    Every stream runs in a thread of its own. `close` ends them: at once where an engine's stream
    can be closed from another thread, else before its next token. After a receipt nobody waits for
    them: they end by themselves.

    Args:
        is_whole: nobody reads before the answers are whole.

    Attributes:
        first_at: when the first item came (`time.perf_counter`); None: none has.
        receipt: of the answers; None until all have ended.
    """

    def __init__(self, sources: Sequence[Iterable[Item]], *, is_whole: bool = False) -> None:
        self._is_whole = is_whole
        self.first_at: float | None = None
        self.receipt: Receipt | None = None
        self._loop = asyncio.get_running_loop()
        self._items: deque[tuple[int, Item | BaseException | None]] = deque()
        self._come = asyncio.Event()
        self._woken = False
        self._sources = list(sources)
        self._left = threading.Event()
        self._going = len(sources)
        for number, source in enumerate(sources):
            _in_thread(partial(self._work, number, source))

    async def __anext__(self) -> tuple[int, Piece | End]:
        while self._going and not self._left.is_set():
            if not self._items:
                self._come.clear()
                self._woken = False
                if not self._items:  # nor came one before that was said
                    await self._come.wait()
                continue
            number, item = self._items.popleft()
            if isinstance(item, (Piece, End)):
                return number, item
            if item is None:
                self._going -= 1
            elif isinstance(item, Receipt):
                self.receipt, self._going = item, 0
            else:
                self.close()
                raise item
        raise StopAsyncIteration

    def close(self) -> None:
        """End all streams: nobody reads on."""
        self._left.set()
        for source in list(self._sources):
            with suppress(ValueError):  # it is at work in its thread, which looks at `_left` next
                _close(source)

    def _work(self, number: int, source: Iterable[Item]) -> None:
        is_over = False
        try:
            for item in source:
                if self._left.is_set():
                    _close(source)
                    break
                if not isinstance(item, Piece):
                    is_over = isinstance(item, Receipt)
                    if not is_over:
                        self._sources.remove(source)
                self._put(number, item)
        except BaseException as error:
            if not is_over:
                self._put(number, error)
        if not is_over:
            self._put(number, None)

    def _put(self, number: int, item: Item | BaseException | None) -> None:
        self._items.append((number, item))
        if self.first_at is None:
            self.first_at = time.perf_counter()
        if self._is_whole and isinstance(item, (Piece, End)):
            return  # to wake the loop for it would keep the next one waiting
        if not self._woken:  # what comes close together wakes the loop once
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                self._loop.call_soon_threadsafe(self._come.set)


_idle: deque[SimpleQueue[Callable[[], None]]] = deque(maxlen=64)
"""Threads that wait for work: to start one takes longer than all else that a request does."""


def _in_thread(work: Callable[[], None]) -> None:
    """Run work in a thread that ends with the process, whatever it is doing."""
    try:
        jobs = _idle.pop()
    except IndexError:
        jobs = SimpleQueue()
        threading.Thread(target=_jobs, args=(jobs,), name="assay-answer", daemon=True).start()
    jobs.put(work)


def _jobs(jobs: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        jobs.get()()
        if len(_idle) == _idle.maxlen:
            return
        _idle.append(jobs)


def _close(source: Iterable[Item]) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()


async def unless_gone(request: Request, work: Awaitable[_T]) -> _T:
    """The result of `work`, which is cancelled when the client hangs up.

    Raises:
        ClientGoneError: it did.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        await _wait_for_disconnect(request)
        gone = True
        task.cancel()

    watcher = asyncio.ensure_future(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise ClientGoneError from None
    finally:
        watcher.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def format_event(data: dict[str, Any], name: str | None = None) -> str:
    """A server-sent event as it is written."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {_encode(data)}\n\n"


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


DONE = "data: [DONE]\n\n"


class Events(StreamingResponse):
    """Server-sent events.

    Args:
        close: called when the last is sent, and as soon as nobody listens.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], close: Callable[[], None]) -> None:
        # `X-Accel-Buffering`: nginx passes events on as they come.
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them all."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()
