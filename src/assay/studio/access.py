"""Who may come into the studio: asked of every request and every socket, assets included.

A link brings a cookie, which no script can read and no other site's request carries. Whatever says
that it comes from another origin is refused; what changes something, and every socket, must say
where it comes from. What leaves carries a policy under which a browser asks nobody but this server.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from html import escape
from urllib.parse import parse_qs

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.accounts import people
from assay.accounts.people import Person
from assay.config.hosts import DEFAULT_ADDRESS
from assay.errors import StoreError
from assay.project.workspace import Workspace
from assay.serve.auth import UPLOAD_BYTES, check_length, count_bytes
from assay.serve.errors import ApiError, of_any

PREFIX = "/studio"
ENTER = f"{PREFIX}/enter"
LEAVE = f"{PREFIX}/leave"
REMEMBERED_S = 1.0
"""A session that was good brings a page's files for so long; pages and actions ask at once."""
FILES = f"{PREFIX}/_nicegui/"
"""Scripts and styles, dozens for a page: nobody's data is in them."""
POLICY = {
    "Content-Security-Policy": (
        # Vue compiles templates in the browser and NiceGUI writes its page's state into a script.
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class AccessMiddleware:
    """ASGI middleware around the paths of the studio; others pass.

    `scope["assay.person"]` and `scope["assay.session"]` say who has come in, and by what session.
    """

    def __init__(self, app: ASGIApp, workspace: Workspace, owns: Callable[[str], bool]) -> None:
        self.app, self.workspace, self.owns = app, workspace, owns
        self._good: dict[str, tuple[Person, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "lifespan" or not self.owns(scope["path"]):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not _same_origin(scope, headers):
            await _refuse(scope, receive, send, 403, "This request came from another site.")
            return
        if scope["type"] == "http":
            send = _with_policy(send)
        if scope["path"] in ("/", PREFIX):
            await RedirectResponse(f"{PREFIX}/", 307)(scope, receive, send)
            return
        session = cookie_parser(headers.get("cookie", "")).get(cookie_name(scope), "")
        is_file = scope.get("method") == "GET" and scope["path"].startswith(FILES)
        try:
            if scope["path"] == ENTER:
                await (await self._enter(scope))(scope, receive, send)
                return
            person = await self._person(session, remembered=is_file)
            if scope["path"] == LEAVE and scope.get("method") == "POST":
                await (await self._leave(scope, session))(scope, receive, send)
                return
            check_length(headers.get("content-length"), UPLOAD_BYTES)
        except (ApiError, StoreError) as error:
            refusal = of_any(error)
            await _refuse(scope, receive, send, refusal.status, refusal.message)
            return
        if person is None:
            await _refuse(
                scope, receive, send, 401, _ENDED if session else "You are not signed in."
            )
            return
        scope["assay.person"], scope["assay.session"] = person, session
        limited = count_bytes(receive, UPLOAD_BYTES) if scope["type"] == "http" else receive
        await self.app(scope, limited, send)

    async def _person(self, session: str, remembered: bool) -> Person | None:
        if not session:
            return None
        known = self._good.get(session)
        if remembered and known and known[1] > time.monotonic():
            return known[0]
        self._good.pop(session, None)
        person = await anyio.to_thread.run_sync(people.find_signed_in, self.workspace, session)
        if person is not None:
            self._good[session] = person, time.monotonic() + REMEMBERED_S
        return person

    async def _enter(self, scope: Scope) -> Response:
        once = parse_qs(scope["query_string"].decode("latin-1")).get("once", [""])[0]
        if scope["method"] != "GET":
            return _render_page(scope, "Open the link in your browser.", 405)
        if _from_elsewhere(scope):  # to whatever account: what is done then is done in its name
            return _render_page(
                scope,
                "The link was opened from another page. Copy it into the address bar.",
                403,
            )
        found = await anyio.to_thread.run_sync(people.redeem, self.workspace, once)
        if found is None:
            return _render_page(scope, "This link has already been used or has expired.", 403)
        response = RedirectResponse(f"{PREFIX}/", 303)
        response.set_cookie(
            cookie_name(scope),
            found[1],
            max_age=int(people.SESSION_LASTS.total_seconds()),
            path=PREFIX,
            httponly=True,
            samesite="lax",
            secure=scope["scheme"] == "https",
        )
        return response

    async def _leave(self, scope: Scope, session: str) -> Response:
        self._good.pop(session, None)
        await anyio.to_thread.run_sync(people.sign_out, self.workspace, session)
        response = _render_page(scope, "You are signed out.", 200)
        response.delete_cookie(cookie_name(scope), path=PREFIX)
        return response


def cookie_name(scope: Scope) -> str:
    """The name of the cookie; browsers give one host's cookies to all of its ports."""
    return f"assay_session_{(scope.get('server') or ('', 0))[1]}"


def _same_origin(scope: Scope, headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return _is_here(scope, headers, origin)
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD")


def _is_here(scope: Scope, headers: Headers, address: str) -> bool:
    """Whether an address has the scheme, the host and the port of this server. It is compared as
    a text: what is no address at all cannot be taken apart."""
    scheme = scope.get("scheme", "http").replace("ws", "http")
    here = f"{scheme}://{headers.get('host')}"
    return address == here or address.startswith(f"{here}/")


def _from_elsewhere(scope: Scope) -> bool:
    """Whether another site has led the browser here. Over plain HTTP to another machine a browser
    only says where from, and not always."""
    headers = Headers(scope=scope)
    site, referrer = headers.get("sec-fetch-site"), headers.get("referer")
    if site is not None:
        return site not in ("none", "same-origin")
    return referrer is not None and not _is_here(scope, headers, referrer)


def _with_policy(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in POLICY.items():
                headers[name] = value
        await send(message)

    return sent


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    await _render_page(scope, why, status)(scope, receive, send)


def _render_page(scope: Scope, why: str, status: int) -> HTMLResponse:
    """A page without scripts, for whom the studio itself is not there."""
    command = f"assay people link owner{_address_option(scope)}"
    return HTMLResponse(_TEXT.format(why=escape(why), command=escape(command)), status)


def _address_option(scope: Scope) -> str:
    """What makes the command print a link to this server; nothing where it does so by itself, or
    where the browser names a host that is none, which is not to be pasted into a shell."""
    host = Headers(scope=scope).get("host") or ""
    scheme = scope.get("scheme", "http").replace("ws", "http")
    if f"{scheme}://{host}" == DEFAULT_ADDRESS or not _HOST.fullmatch(host):
        return ""
    return f" --address {scheme}://{host}"


_ENDED = (
    f"Your sign-in has ended: it lasts {people.SESSION_LASTS.days} days, and ends when your role "
    "changes."
)
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?")
_TEXT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Assay</title>
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root {{ color-scheme: light dark; }} body {{ font: 17px/1.6 system-ui, sans-serif; margin: 0;
display: grid; place-items: center; min-height: 100vh; }}
main {{ max-width: 32rem; padding: 2rem; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; }}</style></head><body><main>
<p><strong>Assay</strong></p><h1>{why}</h1>
<p>Ask an administrator of this server for a new sign-in link.</p>
<p>If you run the server: it prints a link when it starts, and
<code>{command}</code> prints a new one on its machine, in its folder.</p>
</main></body></html>"""
