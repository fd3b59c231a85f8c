"""`assay serve` in the current folder; asking for its health keeps a thread for ten minutes.

First argument: whose; the event loop waits for those of asyncio, the process for those of anyio.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import anyio.to_thread

from assay.project.workspace import Workspace
from assay.serve import server
from tests.serve.scripted import ScriptedEngines


class Asleep:
    """Before the server's own app."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection."""
        if scope["type"] == "http":
            if sys.argv[1] == "asyncio":
                await asyncio.to_thread(time.sleep, 600)
            else:
                await anyio.to_thread.run_sync(time.sleep, 600, abandon_on_cancel=True)
        await self.app(scope, receive, send)


class Pages:
    """No pages, but a place to put the above."""

    def owns(self, path: str) -> bool:
        return False

    def mount(self, app: Any) -> None:
        app.add_middleware(Asleep)

    def welcome(self, address: str) -> str:
        return ""


if __name__ == "__main__":
    server.DRAIN_S = 1
    workspace = Workspace(Path.cwd())
    serving: Any = ScriptedEngines()
    server.serve(
        workspace,
        serving,
        lambda line: print(line, flush=True),
        port=0,
        pages=Pages(),
        end=server.end_process,
    )
