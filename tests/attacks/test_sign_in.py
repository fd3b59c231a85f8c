"""Another site signs nobody in, and its pages are not this server's for having its name."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from assay.accounts import people
from assay.accounts.people import SignedOutError
from assay.generate.stream import End, Piece
from assay.project.workspace import Workspace
from assay.studio.access import ENTER, AccessMiddleware
from assay.studio.app import Studio
from assay.studio.session import PageContext
from assay.studio.shared import streams

BASE = "http://assay.test:8000"


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def asked(workspace: Workspace, base: str, path: str, headers: dict[str, str]) -> httpx.Response:
    door = AccessMiddleware(inside, workspace, Studio(workspace, None).owns)  # type: ignore[arg-type]

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "made-up"},
        {"Referer": "https://evil.test/"},
        {"Referer": "https://assay.test:8000/"},
        {"Referer": "http://assay.test:8000.evil.test/"},
        {"Referer": "http://["},
        {"Origin": "null"},
    ],
)
def test_a_link_on_another_page_signs_nobody_in(
    workspace: Workspace, headers: dict[str, str]
) -> None:
    secret = people.sign_in_secret(workspace, people.add(workspace, "mallory", "viewer").id)
    refused = asked(workspace, BASE, f"{ENTER}?once={secret}", headers)
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers
    entered = asked(workspace, BASE, f"{ENTER}?once={secret}", {"Sec-Fetch-Site": "none"})
    assert entered.status_code == 303  # it was not used up


@pytest.mark.parametrize(
    ("base", "origin", "status"),
    [
        (BASE, BASE, 200),
        (BASE, "https://assay.test:8000", 403),
        ("https://assay.test:8000", "https://assay.test:8000", 200),
        ("https://assay.test:8000", BASE, 403),
        (BASE, "ftp://assay.test:8000", 403),
        (BASE, "//assay.test:8000", 403),
        (BASE, "http://assay.test:80001", 403),
        (BASE, "http://[", 403),
    ],
)
def test_an_origin_is_scheme_host_and_port(
    workspace: Workspace, base: str, origin: str, status: int
) -> None:
    person = people.add(workspace, "ann", "viewer")
    found = people.redeem(workspace, people.sign_in_secret(workspace, person.id))
    assert found is not None
    headers = {"Origin": origin, "Cookie": f"assay_session_8000={found[1]}"}
    assert asked(workspace, base, "/studio/", headers).status_code == status


@pytest.mark.parametrize("path", ["/studio/", f"{ENTER}?once=x", "/studio/leave"])
def test_where_the_database_is_away_nobody_comes_in(workspace: Workspace, path: str) -> None:
    person = people.add(workspace, "ann", "viewer")
    found = people.redeem(workspace, people.sign_in_secret(workspace, person.id))
    assert found is not None
    workspace.store.engine.dispose()
    (workspace.root / ".assay" / "assay.db").write_bytes(b"no database" * 1000)
    headers = {"Cookie": f"assay_session_8000={found[1]}"}
    assert asked(workspace, BASE, path, headers).status_code == 503


def context(workspace: Workspace, role: people.Role) -> PageContext:
    person = people.add(workspace, "ann", role)
    found = people.redeem(workspace, people.sign_in_secret(workspace, person.id))
    assert found is not None
    return PageContext(workspace, None, person, found[1], BASE)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["removed", "demoted", "signed out"])
def test_whatever_a_page_does_asks_for_the_session(workspace: Workspace, how: str) -> None:
    """A function of its own as much as an action."""
    people.add(workspace, "boss", "admin")
    here, done = context(workspace, "editor"), []

    async def do() -> Any:
        return await here.do(lambda _: done.append(1))

    asyncio.run(do())
    assert done == [1]
    if how == "removed":
        people.remove(workspace, here.person.id)
    elif how == "demoted":
        people.set_role(workspace, here.person.id, "viewer")
    else:
        people.sign_out(workspace, here.session)
    with pytest.raises(SignedOutError):
        asyncio.run(do())
    assert done == [1]


def test_an_answer_that_streams_ends_with_the_session(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHECKED_EVERY_S", 0.1)
    people.add(workspace, "boss", "admin")
    here, ended = context(workspace, "viewer"), threading.Event()

    def answer() -> Iterator[Piece | End]:
        try:
            for number in range(2000):
                time.sleep(0.02)
                yield Piece(f"word{number} ")
            yield End("stop", 1, 2000, 0)
        finally:
            ended.set()

    heard: list[str] = []

    def show(so_far: str) -> None:
        if not heard:
            people.remove(workspace, here.person.id)
        heard.append(so_far)

    with pytest.raises(SignedOutError):
        asyncio.run(streams.read_answer(here, answer(), show))  # type: ignore[arg-type]
    assert ended.wait(20)
    assert "word1999" not in heard[-1]
