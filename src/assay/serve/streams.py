"""Bridges engines' blocking streams to asyncio, and back: who hangs up frees the slot."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from fastapi.responses import StreamingResponse
from starlette.requests import Request
from starlette.types import Send

from assay.generate.serving import End, Piece
from assay.serve.errors import ApiError

_T = TypeVar("_T")
Item = Piece | End
Start = Callable[[], Iterator[Item]]


class ClientGoneError(ApiError):
    """The client has hung up; nobody reads an answer."""

    def __init__(self) -> None:
        super().__init__(499, "The client has hung up.")


async def interleaved(starts: Sequence[Start]) -> AsyncGenerator[tuple[int, Item], None]:
    """The items of blocking streams with the number of each, as they come.

    Every stream runs in a thread of its own. Leaving early closes them: at once where an engine's
    stream can be closed from another thread, else before its next token.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[tuple[int, Item | BaseException | None]] = asyncio.Queue()
    left = threading.Event()
    sources: list[Iterator[Item]] = []

    def put(number: int, item: Item | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has stopped
            loop.call_soon_threadsafe(items.put_nowait, (number, item))

    def work(number: int, start: Start) -> None:
        try:
            source = start()
            sources.append(source)
            for item in source:
                if left.is_set():
                    break
                put(number, item)
            _close(source)
        except BaseException as error:
            put(number, error)
        put(number, None)

    for number, start in enumerate(starts):
        threading.Thread(
            target=work, args=(number, start), name="assay-answer", daemon=True
        ).start()
    going = len(starts)
    try:
        while going:
            number, item = await items.get()
            if item is None:
                going -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield number, item
    finally:
        left.set()
        for source in sources:
            with suppress(ValueError):  # it is at work in its thread, which looks at `left` next
                _close(source)


def _close(source: Iterator[Item]) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()


async def unless_gone(request: Request, work: Awaitable[_T]) -> _T:
    """The result of `work`, which is cancelled when the client hangs up.

    Raises:
        ClientGoneError: it did.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for future in (task, gone):
            future.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def event(data: dict[str, Any], name: str | None = None) -> str:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


DONE = "data: [DONE]\n\n"


class Events(StreamingResponse):
    """Server-sent events; their generator is closed as soon as nobody listens."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str]) -> None:
        # `X-Accel-Buffering`: nginx passes events on as they come.
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers)

    async def stream_response(self, send: Send) -> None:
        """Send them all."""
        try:
            await super().stream_response(send)
        finally:
            close = getattr(self.body_iterator, "aclose", None)
            if close is not None:
                await close()
