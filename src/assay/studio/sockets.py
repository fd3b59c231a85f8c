"""A page's socket belongs to the session that the page was made for, and ends with it. A page that
was made for another role than its person has now offers to be loaded again.

    Sockets(workspace).guard()      # once, before anything is served

NiceGUI finds a page, an element and a listener by ids that a message names, whoever sends it: what
is found here must be of the sender's own session. Messages that no page of ours would send do
nothing and are not logged, since a log must not grow at the wish of whoever is connected.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import parse_qs
from weakref import WeakKeyDictionary

import anyio.to_thread
from nicegui import Client, core
from nicegui import app as pages_app
from socketio.exceptions import ConnectionRefusedError
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from assay.accounts import people
from assay.accounts.people import Person
from assay.log_lines import Allowance, RateFilter
from assay.project.workspace import Workspace
from assay.studio.dialogs import offer_reload

CHECKED_EVERY_S = 0.5
"""So often the store is asked whether the sessions of open pages are still good."""
MAY_LOG = {"debug", "info", "warning", "error"}
LONGEST_LINE = 500
LONGEST_ID = 64
DOCUMENTS = 16
"""So many of a page are told apart; a browser opens one again, and goes back, seldom."""
LINES_A_MINUTE = 20
_OF_A_PAGE = re.compile(r"/_nicegui/client/([^/]+)/")
_RELOAD = {"code": "window.location.reload()"}

log = logging.getLogger("assay.studio")


class Sockets:
    """The sockets of this process's pages."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._sio = core.sio
        self._lines = Allowance(LINES_A_MINUTE, 60.0)
        self._heard: WeakKeyDictionary[Client, dict[str, int]] = WeakKeyDictionary()

    def guard(self) -> None:
        """Put a check before each of NiceGUI's handlers, and watch over sessions."""
        handlers = self._sio.handlers["/"]
        for name, handler in handlers.items():
            handlers[name] = self._guarded(name, handler)
        # By long polling, messages of one socket come in requests of their own: of anybody.
        self._sio.eio.transports = ["websocket"]
        pages_app.config.socket_io_js_transports = ["websocket"]
        pages_app.add_middleware(PageOwnerMiddleware)
        pages_app.on_startup(self._watch)
        logging.getLogger("nicegui").addFilter(RateFilter())

    def _guarded(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        if name == "disconnect":
            return handler
        if name == "connect":
            return self._connect(handler)
        if name == "handshake":
            return self._handshake(handler)

        async def guarded(sid: str, *messages: Any) -> None:
            if len(messages) != 1 or not isinstance(messages[0], dict):
                return
            message = messages[0]
            page = message.get("client_id")
            if not isinstance(page, str) or page not in self._sio.rooms(sid):
                return
            if name == "log":
                self._log(message)
                return
            if name == "event" and not self._is_new(page, message):
                return
            try:
                handler(sid, message)
            except (KeyError, TypeError, ValueError, AttributeError):
                return  # an element that is gone, or nothing that a page would send

        return guarded

    def _connect(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        async def connect(sid: str, *given: Any) -> None:
            environ = self._sio.get_environ(sid)
            if environ is None or not given or given[0] is not environ:
                return  # a message that is called so
            query = parse_qs(environ.get("QUERY_STRING", ""))
            session = read_session(environ.get("asgi.scope", {}))
            own = self._is_own(sid, query.get("client_id", [None])[0])
            if not own or session not in await self._good({session}):
                raise ConnectionRefusedError("Implicit handshake failed")
            try:
                await handler(sid, environ)
            except (KeyError, ValueError):
                raise ConnectionRefusedError("Implicit handshake failed") from None

        return connect

    def _handshake(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        async def handshake(sid: str, *messages: Any) -> bool:
            message = messages[0] if messages and isinstance(messages[0], dict) else {}
            if not self._is_own(sid, message.get("client_id")):
                return False
            try:
                return bool(await handler(sid, message))
            except (KeyError, TypeError, ValueError):
                return False

        return handshake

    def _is_own(self, sid: str, page: object) -> bool:
        """Whether a page was made for the session that a socket was opened with."""
        client = Client.instances.get(page) if isinstance(page, str) else None
        mine = read_session((self._sio.get_environ(sid) or {}).get("asgi.scope", {}))
        return client is not None and mine is not None and find_session(client) == mine

    def _is_new(self, page: str, event: dict[str, Any]) -> bool:
        """Whether an event was not handled yet: after a lost connection a page tells again what it
        does not know to be heard (`lost_connection.js`). A page that the browser has loaded again
        out of what it keeps is another document, and counts from the beginning."""
        client = Client.instances.get(page)
        document, nth = event.get("document"), event.get("nth")
        if client is None or type(nth) is not int:
            return False
        if not isinstance(document, str) or len(document) > LONGEST_ID:
            return False
        heard = self._heard.setdefault(client, {})
        last = heard.pop(document, 0)
        heard[document] = max(last, nth)
        if len(heard) > DOCUMENTS:
            del heard[next(iter(heard))]  # the one that has said nothing for the longest time
        return nth > last

    def _log(self, message: dict[str, Any]) -> None:
        level, text = message.get("level"), message.get("message")
        if level in MAY_LOG and isinstance(text, str) and self._lines.take():
            log.log(
                logging.getLevelNamesMapping()[level.upper()], "a browser: %r", text[:LONGEST_LINE]
            )

    async def _watch(self) -> None:
        failed = False
        while True:
            await asyncio.sleep(CHECKED_EVERY_S)
            try:
                await self._follow_sessions()
                failed = False
            except Exception as error:  # a database that is away, for an hour perhaps: told once
                if not failed:
                    log.warning("sessions could not be checked: %s", error)
                failed = True

    async def _follow_sessions(self) -> None:
        """End the pages whose sessions are over; tell those whose person has another role now."""
        there = [(client, find_session(client)) for client in Client.instances.values()]
        there = [(client, session) for client, session in there if client.has_socket_connection]
        if not there:
            return
        good = await self._good({session for _, session in there})
        for client, session in there:
            person = good.get(session or "")
            if person is None:
                await self._end(client)
            elif client.request.scope["assay.person"].role != person.role:
                client.request.scope["assay.person"] = person  # who is told once
                role = f"You now have the role {person.role}."
                offer_reload(client, f"{role} Reload the page to use it.")

    async def _good(self, sessions: Collection[str | None]) -> dict[str, Person]:
        known = {session for session in sessions if session is not None}
        return await anyio.to_thread.run_sync(people.find_all_signed_in, self._workspace, known)

    async def _end(self, client: Client) -> None:
        """End a page and its sockets: its timers and updates, too."""
        sockets = dict(self._sio.manager.get_participants("/", client.id))
        for sid in sockets:
            await self._sio.emit("run_javascript", _RELOAD, to=sid)
        if client.id in Client.instances:
            client.delete()
        for below in sockets.values():
            await self._sio.eio.disconnect(below)


class PageOwnerMiddleware:
    """ASGI middleware: what belongs to a page, such as where its uploads go, is its session's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        found = _OF_A_PAGE.search(scope["path"]) if scope["type"] == "http" else None
        if found is not None:
            client = Client.instances.get(found[1])
            if client is None or find_session(client) != read_session(scope):
                await PlainTextResponse("There is no such page.", 404)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def find_session(client: Client) -> str | None:
    """Secret of the session that a page was made for; None where it was for nobody."""
    return read_session(client.request.scope)


def read_session(scope: Any) -> str | None:
    """The secret of the session that `AccessMiddleware` has put into a scope; None without one."""
    session = scope.get("assay.session")
    return session if isinstance(session, str) and session else None
