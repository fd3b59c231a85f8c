"""Who comes in: asked before anything of the studio runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from assay.accounts import people
from assay.project.workspace import Workspace
from assay.store.tables import SessionRow, SignInRow
from assay.studio.access import ENTER, LEAVE, AccessMiddleware
from assay.studio.app import Studio

BASE = "http://assay.test:8000"
HERE = {"Origin": BASE}


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    """What is behind the door: says who has come in."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await receive()
    person = scope.get("assay.person")
    body = (person.name if person else "nobody").encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def door(workspace: Workspace) -> AccessMiddleware:
    return AccessMiddleware(inside, workspace, Studio(workspace, None).owns)  # type: ignore[arg-type]


@pytest.fixture
def client(door: AccessMiddleware) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=door), base_url=BASE)


def run(work: Any) -> Any:
    import asyncio

    return asyncio.run(work)


async def enter(client: httpx.AsyncClient, workspace: Workspace, role: str = "admin") -> str:
    person = people.add(workspace, f"{role}-person", role)
    secret = people.sign_in_secret(workspace, person.id)
    response = await client.get(f"{ENTER}?once={secret}")
    assert response.status_code == 303
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/studio" in cookie
    return person.id


PATHS = ("/studio/", "/studio/compare", "/studio/_nicegui/3/static/x.js", "/studio/_nicegui_ws/")


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_there_for_who_is_not_signed_in(client: httpx.AsyncClient, path: str) -> None:
    response = run(client.get(path))
    assert response.status_code == 401
    assert "not signed in" in response.text
    cookies = {"assay_session_8000": "made-up"}
    assert run(client.get(path, cookies=cookies)).status_code == 401


def test_the_page_for_who_is_not_signed_in_has_the_command_for_this_server(
    client: httpx.AsyncClient,
) -> None:
    command = "<code>assay people link owner{}</code>"

    def shown(host: str) -> str:
        return run(client.get("/studio/", headers={"host": host})).text

    assert command.format(" --address http://127.0.0.1:9231") in shown("127.0.0.1:9231")
    assert command.format("") in shown("127.0.0.1:8000")
    assert command.format("") in shown("a.example;rm"), "what is no host is not pasted into a shell"


def test_other_paths_are_nobodys_business_here(client: httpx.AsyncClient) -> None:
    assert run(client.get("/v1/models")).text == "nobody"
    assert run(client.get("/studios")).text == "nobody"
    response = run(client.get("/"))
    assert (response.status_code, response.headers["location"]) == (307, "/studio/")


def test_a_link_signs_in_once_and_leaves_no_secret(
    client: httpx.AsyncClient, workspace: Workspace
) -> None:
    async def walk() -> None:
        person = people.add(workspace, "ann", "viewer")
        secret = people.sign_in_secret(workspace, person.id)
        first = await client.get(f"{ENTER}?once={secret}")
        session = first.cookies["assay_session_8000"]
        assert (await client.get("/studio/")).text == "ann"
        other = await client.get(f"{ENTER}?once={secret}", cookies={})
        assert other.status_code == 403
        with workspace.store.session() as rows:
            kept = rows.query(SessionRow).one().hash + "".join(
                row.hash for row in rows.query(SignInRow)
            )
        assert session not in kept
        assert secret not in kept

    run(walk())


def test_a_session_and_a_link_end(client: httpx.AsyncClient, workspace: Workspace) -> None:
    from datetime import timedelta

    from assay.store.tables import now

    async def walk() -> None:
        id = await enter(client, workspace)
        assert (await client.get("/studio/")).status_code == 200
        secret = people.sign_in_secret(workspace, id)
        with workspace.store.session() as rows:
            for table in (SessionRow, SignInRow):
                for row in rows.query(table):
                    row.expires = now() - timedelta(seconds=1)
        assert (await client.get("/studio/")).status_code == 401
        assert (await client.get(f"{ENTER}?once={secret}")).status_code == 403

    run(walk())


def test_another_site_is_refused(client: httpx.AsyncClient, workspace: Workspace) -> None:
    async def walk() -> None:
        await enter(client, workspace)
        evil = {"Origin": "http://evil.test"}
        assert (await client.get("/studio/", headers=evil)).status_code == 403
        assert (await client.post("/studio/x", headers=evil)).status_code == 403
        assert (await client.post("/studio/x")).status_code == 403  # does not say where from
        assert (await client.post("/studio/x", headers={"Origin": "null"})).status_code == 403
        port = {"Origin": "http://assay.test:3000"}
        assert (await client.post("/studio/x", headers=port)).status_code == 403
        assert (await client.post("/studio/x", headers=HERE)).status_code == 200

    run(walk())


@pytest.mark.parametrize(
    ("origin", "signed_in", "opened"),
    [
        (BASE, True, True),
        (BASE, False, False),
        ("http://evil.test", True, False),
        (None, True, False),
    ],
)
def test_sockets_are_asked_too(
    door: AccessMiddleware, workspace: Workspace, origin: str | None, signed_in: bool, opened: bool
) -> None:
    person = people.add(workspace, "ann", "viewer")
    found = people.redeem(workspace, people.sign_in_secret(workspace, person.id))
    assert found is not None
    headers = [(b"host", b"assay.test:8000")]
    if origin:
        headers.append((b"origin", origin.encode()))
    if signed_in:
        headers.append((b"cookie", f"assay_session_8000={found[1]}".encode()))
    scope = {
        "type": "websocket",
        "path": "/studio/_nicegui_ws/socket.io/",
        "headers": headers,
        "server": ("assay.test", 8000),
        "query_string": b"",
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    run(door(scope, receive, send))
    assert sent == ["websocket.accept" if opened else "websocket.close"]


def test_what_leaves_asks_nobody_else(client: httpx.AsyncClient, workspace: Workspace) -> None:
    async def walk() -> None:
        await enter(client, workspace)
        headers = (await client.get("/studio/")).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self'")
        assert "http" not in policy
        assert headers["x-frame-options"] == "DENY"

    run(walk())


def test_signing_out_and_demotion_end_it_at_once(
    client: httpx.AsyncClient, workspace: Workspace
) -> None:
    async def walk() -> None:
        people.add(workspace, "boss", "admin")
        id = await enter(client, workspace, "editor")
        people.set_role(workspace, id, "admin")
        assert (await client.get("/studio/")).status_code == 200
        people.set_role(workspace, id, "viewer")
        assert (await client.get("/studio/")).status_code == 401
        secret = people.sign_in_secret(workspace, id)
        await client.get(f"{ENTER}?once={secret}")
        assert (await client.get("/studio/")).status_code == 200
        assert (await client.post(LEAVE, headers=HERE)).status_code == 200
        assert (await client.get("/studio/")).status_code == 401

    run(walk())


def test_a_body_has_a_limit(client: httpx.AsyncClient, workspace: Workspace) -> None:
    async def walk() -> None:
        await enter(client, workspace)
        headers = {**HERE, "Content-Length": str(10**10)}
        assert (await client.post("/studio/x", headers=headers)).status_code == 413

    run(walk())
