"""Requests of batches, asked of the same routes as those that come over HTTP.

    app = create_line_app(served)
    reply = await ask(app, caller, "/v1/chat/completions", b'{"model": ...}')

The app has the routes that answer, with their checks, scopes, budgets, traces and errors, and no
gate: whom a request is from is known before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Scope

from assay import json_reader
from assay.accounts.keys import CALLER, Caller
from assay.project.answer.gateway import Gateway
from assay.serve import errors

GATEWAY = "assay.gateway"
"""Name in a request's scope, see `gateway_of`."""
UNAVAILABLE = "model_unavailable"
_BUSY = ("rate_limit_exceeded", "state_unavailable")
LONGEST_PAUSE_S = 30.0
_LOOK_S = 0.1
"""How soon it is seen that other requests have ended."""


@dataclass(frozen=True, slots=True)
class LineReply:
    """What a route has answered.

    Attributes:
        retry_after_s: what it says of that; None: nothing.
    """

    status: int
    body: bytes
    retry_after_s: float | None

    @property
    def code(self) -> str | None:
        """Of the error; None where there is none."""
        if self.status < 400:
            return None
        try:
            return str(json_reader.read(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def is_short(self) -> bool:
        """Whether a budget has no room for it while so much is set aside for other requests."""
        return self.retry_after_s is not None and self.code == "insufficient_quota"

    def pause_s(self, tries: int, most: int) -> float | None:
        """Seconds after which the request is asked again; None: this is its answer.

        Args:
            tries: that were made.
            most: of them, where the model cannot be asked; while it is busy, or a budget may have
                room later, there is no limit.
        """
        code = self.code
        wait = min(2.0 ** min(tries, 5), LONGEST_PAUSE_S)
        if code in _BUSY or self.is_short:
            return min(self.retry_after_s or wait, LONGEST_PAUSE_S)
        return wait if code == UNAVAILABLE and tries < most else None


def create_line_app(state: State, *routers: APIRouter) -> FastAPI:
    """An app of some routes.

    Args:
        state: of the app that is served.
    """
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry={"auto_configure": False, "logs": False},
    )
    app.state = state
    errors.install(app)
    for router in routers:
        app.include_router(router)
    return app


def gateway_of(request: Request) -> Gateway:
    """What opens the answer to a request: the app's, unless a line of a batch has its own."""
    found: Gateway | None = request.scope.get(GATEWAY)
    own: Gateway = request.app.state.gateway
    return found or own


async def ask(
    app: ASGIApp, caller: Caller, path: str, body: bytes, gateway: Gateway | None = None
) -> LineReply:
    """What a route answers to a JSON body, asked by `caller`. Cancelling it ends the answer.

    Args:
        gateway: that opens the answer; None: that of the app.
    """
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
        "client": None,
        "server": None,
        CALLER: caller,
        GATEWAY: gateway,
    }
    unread = [body]
    status, wait, parts = 500, None, list[bytes]()

    async def receive() -> MutableMapping[str, Any]:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        await asyncio.Event().wait()  # nobody hangs up
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal status, wait
        if message["type"] == "http.response.start":
            status = message["status"]
            told = dict(message.get("headers", [])).get(b"retry-after")
            with suppress(ValueError):
                wait = float(told) if told is not None else None
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return LineReply(status, b"".join(parts), wait)


class Places:
    """Places for requests of batches, given in the order of asking: half as many while one other
    request is under way, a third beside two, and always one.

    Args:
        most: of all batches together.
        others: how many other requests are under way.
    """

    def __init__(self, most: int, others: Callable[[], int]) -> None:
        self.most, self._others = most, others
        self._taken = 0
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()

    async def __aenter__(self) -> None:
        async with self._turn:
            while self._taken >= max(1, self.most // (1 + self._others())):
                self._freed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._freed.wait()
            self._taken += 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._taken -= 1
        self._freed.set()
