"""`/mcp` of `assay serve`: the tools over HTTP.

The server (`serve/auth.py`, `serve/mcp.py`) has found the key, seen that it has the scope `mcp` and
is of this project, and limited the body, before a byte gets here. Every request stands alone: there
are no sessions that one could take over or fill the memory with.
"""

from __future__ import annotations

from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import Receive, Scope, Send

from assay.mcp.access import ServedAccess
from assay.mcp.server import create_server
from assay.project.workspace import Workspace

MOST_BYTES = 512 * 1024
"""Of a request: a long prompt with its examples."""


class Endpoint:
    """An ASGI app; answers within `run` alone."""

    def __init__(self, workspace: Workspace) -> None:
        server = create_server(ServedAccess(workspace))
        server.streamable_http_app(
            stateless_http=True,
            max_request_body_size=MOST_BYTES,
            # Names of hosts do not matter where every request needs a key in a header.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        self._sessions = server.session_manager
        self.run = self._sessions.run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._sessions.asgi_app(scope, receive, send)
