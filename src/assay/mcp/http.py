"""`/mcp` of `assay serve`: the tools over HTTP, for keys with the scope `mcp`.

The gate of the server (`serve/auth.py`) has found the key and limited the body before a byte gets
here; the scope and the project are looked at here, before anything is parsed. Every request stands
alone: there are no sessions that one could take over or fill the memory with.
"""

from __future__ import annotations

from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from assay.accounts.keys import Caller
from assay.mcp.access import CALLER, SCOPE, ServedAccess
from assay.mcp.server import create_server
from assay.project.workspace import Workspace

MOST_BYTES = 512 * 1024
"""Of a request: a long prompt with its examples."""


class Endpoint:
    """An ASGI app; answers within `run` alone."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
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
        caller = scope.get(CALLER)
        if not isinstance(caller, Caller) or not caller.may(SCOPE):
            await _refuse(403, f"This key has no scope '{SCOPE}'.")(scope, receive, send)
        elif caller.project != self._workspace.name:
            await _refuse(404, "There is no project of this key here.")(scope, receive, send)
        elif scope["method"] != "POST":
            await _refuse(405, "Send requests by POST.")(scope, receive, send)
        else:
            await self._sessions.asgi_app(scope, receive, send)


def _refuse(status: int, message: str) -> JSONResponse:
    error = {"message": message, "type": "permission_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status)
