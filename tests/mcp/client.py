"""The SDK's own client, as agents use it: over standard input and output, and over HTTP.

async with over_stdio(folder) as session:
    found = await call(session, "describe_data")
    assert "no such" in await refused(session, "show_agent", agent="x")
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from mcp import ClientSession, StdioServerParameters

PATIENCE_S = 300.0
said: list[str] = []
"""All that tools have answered, as agents read it."""
broken: list[Exception] = []
"""Lines that were no messages of the protocol."""


async def _hear(message: Any) -> None:
    if isinstance(message, Exception):
        broken.append(message)


@asynccontextmanager
async def over_stdio(folder: Path) -> AsyncIterator[ClientSession]:
    """`assay mcp` in a folder, whose files are no modules to it."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-P", "-m", "assay.cli.main", "mcp"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with (folder / "stderr.txt").open("w") as errors:
        async with (
            stdio_client(server, errlog=errors) as (read, write),
            ClientSession(read, write, PATIENCE_S, message_handler=_hear) as session,
        ):
            await session.initialize()
            yield session


@asynccontextmanager
async def over_http(url: str, key: str) -> AsyncIterator[ClientSession]:
    """`/mcp` of a server, with a key."""
    async with (
        httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S
        ) as client,
        streamable_http_client(f"{url}/mcp", http_client=client) as (read, write),
        ClientSession(read, write, PATIENCE_S, message_handler=_hear) as session,
    ):
        await session.initialize()
        yield session


async def call(
    session: ClientSession,
    tool: str,
    progress: Callable[[float, float | None, str | None], Awaitable[None]] | None = None,
    **arguments: Any,
) -> Any:
    """What a tool answers, as data."""
    answer = await _ask(session, tool, arguments, progress)
    assert not answer.is_error, said[-1]
    found = answer.structured_content
    assert found is not None
    return found["result"] if set(found) == {"result"} else found


async def refused(session: ClientSession, tool: str, **arguments: Any) -> str:
    """The one line by which a tool refuses."""
    answer = await _ask(session, tool, arguments, None)
    assert answer.is_error, said[-1]
    text = said[-1]
    assert "\n" not in text
    assert "Traceback" not in text
    assert "Error executing" not in text
    return text


async def _ask(
    session: ClientSession, tool: str, arguments: dict[str, Any], progress: Any
) -> CallToolResult:
    answer = await session.call_tool(tool, arguments, progress_callback=progress)
    said.append("\n".join(getattr(part, "text", "") for part in answer.content))
    return answer
