"""`/mcp`: what coding agents use, see `assay.mcp`.

The SDK takes more than half a second of processor time and 20 MB, so it is loaded for the first key
that may ask, not at start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus
from starlette.types import Receive, Scope, Send

from assay.accounts.keys import CALLER, Caller
from assay.project.workspace import Workspace
from assay.serve.errors import ApiError, forbidden

if TYPE_CHECKING:
    from assay.mcp.http import Endpoint

PATH = "/mcp"
SCOPE = "mcp"


class McpApp:
    """An ASGI app for keys with the scope `mcp`; answers within `run` alone.

    Scope, project and method are looked at before anything is loaded or parsed.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._endpoint: Endpoint | None = None
        self._tasks: TaskGroup | None = None
        self._loading = asyncio.Lock()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Requests are answered within the block; what the SDK still does ends with it."""
        async with anyio.create_task_group() as self._tasks:
            yield
            self._tasks.cancel_scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if refusal := self._refusal(scope):
            await refusal.response()(scope, receive, send)
            return
        endpoint = self._endpoint or await self._load()
        await endpoint(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        caller = scope.get(CALLER)
        if not isinstance(caller, Caller) or not caller.may(SCOPE):
            return forbidden(f"This key has no scope '{SCOPE}'.")
        if caller.project != self._workspace.name:
            return ApiError(404, "There is no project of this key here.", code="not_found")
        if scope["method"] != "POST":
            return ApiError(405, "Send requests by POST.", code="method_not_allowed")
        return None

    async def _load(self) -> Endpoint:
        async with self._loading:
            if self._endpoint is None:
                endpoint = await anyio.to_thread.run_sync(_create, self._workspace)
                assert self._tasks is not None
                await self._tasks.start(_hold, endpoint)
                self._endpoint = endpoint
            return self._endpoint


def _create(workspace: Workspace) -> Endpoint:
    from assay.mcp.http import Endpoint

    return Endpoint(workspace)


async def _hold(endpoint: Endpoint, *, task_status: TaskStatus[None]) -> None:
    """Let it answer until the server ends, whoever's request has begun it."""
    async with endpoint.run():
        task_status.started()
        await anyio.sleep_forever()
