"""Requests under way, by key: a key that is good no more ends them."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Collection

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.errors import StoreError
from assay.serve.errors import ApiError

CHECKED_EVERY_S = 0.5
"""So often the store is asked whether keys with requests under way are still good."""


class OpenRequests:
    """Requests under way.

    Args:
        good: those of some keys, by id, that are still good.
    """

    def __init__(self, good: Callable[[Collection[str]], set[str]]) -> None:
        self._good = good
        self._of: defaultdict[str, set[anyio.CancelScope]] = defaultdict(set)
        self._watch: asyncio.Task[None] | None = None

    def count(self, key: str) -> int:
        """How many requests of a key are under way."""
        return len(self._of.get(key, ()))

    async def run(self, key: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, for as long as its key is good."""
        answer = _Answer(send)
        if self._watch is None:
            self._watch = asyncio.create_task(self._end_revoked(), name="keys")
        with anyio.CancelScope() as within:
            self._of[key].add(within)
            try:
                await app(scope, receive, answer.send)
            finally:
                self._of[key].discard(within)
                if not self._of[key]:
                    del self._of[key]
        if within.cancelled_caught:
            await answer.end(scope, receive)

    async def _end_revoked(self) -> None:
        try:
            while True:
                await asyncio.sleep(CHECKED_EVERY_S)
                if not self._of:
                    return
                keys = set(self._of)
                try:
                    good = await anyio.to_thread.run_sync(self._good, keys)
                except StoreError:  # away for a moment; whoever asks next is told
                    continue
                for key in keys - good:
                    for within in list(self._of.get(key, ())):
                        within.cancel()
        finally:
            self._watch = None


class _Answer:
    """What a client has been sent so far."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = self._whole = self._events = False

    async def send(self, message: Message) -> None:
        """Hand a message on."""
        if message["type"] == "http.response.start":
            kind = Headers(raw=list(message.get("headers", []))).get("content-type", "")
            self._begun, self._events = True, kind.startswith("text/event-stream")
        elif message["type"] == "http.response.body":
            self._whole = not message.get("more_body", False)
        await self._send(message)

    async def end(self, scope: Scope, receive: Receive) -> None:
        """Say that the key is good no more, where that can still be said; the connection is closed
        where not."""
        error = ApiError(401, "This API key was revoked.", code="invalid_api_key")
        if not self._begun:
            await error.response()(scope, receive, self._send)
        elif self._events and not self._whole:
            event = f"data: {json.dumps(error.body())}\n\n".encode()
            await self._send({"type": "http.response.body", "body": event})
