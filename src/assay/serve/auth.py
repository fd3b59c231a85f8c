"""Who asks, and whether they may: decided from the headers, before a body is read.

`AccessMiddleware` stands in front of the whole app, so that a route that forgets to ask is closed,
not open. It also holds what a key may have: bytes of a body and requests at once.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.accounts.keys import CALLER, Caller, caller_of, find_key, select_keys
from assay.errors import StoreError
from assay.project.workspace import Workspace
from assay.quantities import say_count
from assay.serve.errors import ApiError, forbidden, of_assay
from assay.serve.open_requests import OpenRequests
from assay.serve.request_limit import RequestLimit

log = logging.getLogger("assay.serve")

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
BODY_BYTES = 4 * 2**20
"""The largest body, unless it is an upload: far more text than a context holds."""
UPLOAD_BYTES = 520 * 2**20
"""The largest body of a file upload: OpenAI's 512 MB and its form."""
UPLOAD_PATH = re.compile(r"/v1/files/?|/v1/uploads/[^/]+/parts/?")
"""Where forms go to disk as they come; every other body is held in memory."""
REQUESTS_AT_ONCE = 128
"""Of one key, on all servers together."""
REMEMBERED_S = 1.0
"""A key that was good is taken to be good for so long; a revoked one is refused after it."""


class RequiredScope:
    """A dependency: the caller, if its key is good for `scope`, one of `accounts.scopes.SCOPES`.

    Raises:
        ApiError: 401 without a good key, 403 with one of another scope.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope

    # A coroutine: FastAPI would send a plain function to a thread and back.
    async def __call__(self, request: Request) -> Caller:
        """The caller of a request."""
        caller = request.scope.get(CALLER)
        if not isinstance(caller, Caller):  # the gate does not let this happen
            raise _unknown(None)
        if not caller.may(self.scope):
            raise forbidden(f"This key has no scope '{self.scope}'.")
        return caller


async def _find_workspace(request: Request) -> Workspace:
    workspace: Workspace = request.app.state.workspace
    return workspace


ServedWorkspace = Annotated[Workspace, Depends(_find_workspace)]
"""A dependency: the folder that is served."""


class AccessMiddleware:
    """ASGI middleware: lets in who brings a good key, and counts what they bring."""

    def __init__(
        self,
        app: ASGIApp,
        workspace: Workspace,
        at_once: int = REQUESTS_AT_ONCE,
        beside: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self.app, self.workspace, self.beside = app, workspace, beside
        self._good: dict[str, tuple[Caller, float]] = {}
        self._open = OpenRequests(partial(select_keys, workspace.store))
        self._limit = RequestLimit(workspace.store, at_once, self._open.count)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, self._closing(receive), send)
            return
        if scope["path"] in OPEN_PATHS or self.beside(scope["path"]):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "There is none here."})
            return
        headers = Headers(scope=scope)
        try:
            caller = await self._caller(headers.get("authorization"))
            limit = UPLOAD_BYTES if UPLOAD_PATH.fullmatch(scope["path"]) else BODY_BYTES
            check_length(headers.get("content-length"), limit)
            if not await self._limit.admits(caller.key_id):
                raise ApiError(
                    429,
                    f"This key may have {say_count(self._limit.most, 'request')} running at once.",
                    "rate_limit_error",
                    "rate_limit_exceeded",
                    headers={"Retry-After": "1"},
                )
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        except StoreError as error:
            await of_assay(error).response()(scope, receive, send)
            return
        scope[CALLER] = caller
        await self._open.run(caller.key_id, self.app, scope, count_bytes(receive, limit), send)

    def _closing(self, receive: Receive) -> Receive:
        """What the server says of its life; at its end, no part of a key's requests stays here."""

        async def read() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._limit.close()
            return message

        return read

    async def _caller(self, header: str | None) -> Caller:
        kind, _, secret = (header or "").partition(" ")
        secret = secret.strip()
        if kind.lower() != "bearer" or not secret:
            raise _unknown(None)
        known = self._good.get(secret)
        if known and known[1] > time.monotonic():
            return known[0]
        self._good.pop(secret, None)
        key = await anyio.to_thread.run_sync(find_key, self.workspace.store, secret)
        if key is None:
            raise _unknown(secret)
        caller = caller_of(key)
        self._good[secret] = (caller, time.monotonic() + REMEMBERED_S)
        return caller


def _unknown(secret: str | None) -> ApiError:
    if secret is None:
        message = "You did not provide an API key: send it as 'Authorization: Bearer assay-...'."
    else:
        message = "Incorrect API key provided. Create one with `assay keys create`."
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def check_length(length: str | None, limit: int) -> None:
    """Refuse a body by the length that it is said to have.

    Raises:
        ApiError: it is larger than `limit` bytes.
    """
    if length is not None and length.isdecimal() and int(length) > limit:
        raise _too_large(limit)


def count_bytes(receive: Receive, limit: int) -> Receive:
    """A body that comes without its length, or with a wrong one, ends at the limit all the same."""
    seen = 0

    async def read() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            # FastAPI takes every other exception in a body for a client's broken JSON.
            raise HTTPException(413, _too_large(limit).message)
        return message

    return read


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"The body is larger than {limit // 2**20} MB.", code="request_too_large")
