"""Every route with no key, a wrong one, one of another scope; what a key may bring at once."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from assay.accounts.keys import create_key, revoke_key
from assay.accounts.scopes import SCOPES
from assay.project.workspace import Workspace
from assay.serve import auth
from assay.serve.app import create_app
from tests.serve.running import PATIENCE_S, STARTER, Running, running
from tests.serve.scripted import ScriptedEngine, ScriptedEngines

OPEN = ("/healthz", "/readyz")
"""Named here once more: who opens a path must say so twice."""


def routes() -> list[tuple[str, str]]:
    """Method and path of every route that the app has."""
    app = create_app(None, None)  # type: ignore[arg-type]
    paths = app.openapi()["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [(method, path) for method, path in found if path not in OPEN]


def _path(path: str) -> str:
    import re

    return re.sub(r"\{[^}]*\}", "x", path)


def test_a_database_that_cannot_be_read_is_said_to_be_away(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.http() as client:
        assert client.get("/v1/models").status_code == 200
        database = tmp_path / ".assay" / "assay.db"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.write_bytes(os.urandom(database.stat().st_size))
        time.sleep(auth.REMEMBERED_S + 0.1)
        for path in ("/readyz", "/v1/models"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "state_unavailable"


@pytest.mark.parametrize(("method", "path"), [*routes(), ("GET", "/openapi.json"), ("GET", "/x")])
def test_no_route_answers_without_a_key(server: Running, method: str, path: str) -> None:
    url = server.url + _path(path)
    for header in (
        None,
        "",
        "Bearer",
        "Basic eDp5",
        "Bearer assay-wrong",
        "Bearer \xff",
    ):
        headers = {} if header is None else {"Authorization": header.encode("latin-1")}
        told = httpx.request(method, url, headers=headers, content=b"{")
        assert told.status_code == 401, header
        assert told.json()["error"]["code"] == "invalid_api_key"
        assert told.headers["WWW-Authenticate"] == "Bearer"


SCOPE_OF = {
    "/v1/chat": "chat",
    "/v1/completions": "chat",
    "/v1/responses": "chat",
    "/v1/conversations": "chat",
    "/v1/embeddings": "chat",
    "/v1/models": "chat",
    "/v1/files": "files",
    "/v1/batches": "files",
    "/v1/evals": "files",
    "/v1/uploads": "files",
    "/v1/storage": "files",
    "/v1/fine_tuning": "fine_tuning",
    "/v1/releases": "releases",
    "/v1/traces": "traces",
    "/v1/vector_stores": "knowledge",
    "/v1/keys": "admin",
    "/v1/audit": "admin",
    "/metrics": "admin",
}
"""By the beginning of a path; a route that is not here fails the test below."""
OTHER_SCOPE = {
    ("POST", "/v1/traces"): "spans",
    ("DELETE", "/v1/models/{name}"): "fine_tuning",
}
NEEDS_CHAT_TOO = ("POST", "/v1/batches")


def scope_of(method: str, path: str) -> str:
    """The scope that opens a route."""
    if (method, path) in OTHER_SCOPE:
        return OTHER_SCOPE[method, path]
    [scope] = {scope for start, scope in SCOPE_OF.items() if f"{path}/".startswith(f"{start}/")}
    return scope


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_opens_its_routes_and_no_other_route(server: Running, scope: str) -> None:
    """Every route with a key of every scope; `admin` opens all of them."""
    bodies = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "a"}]},
        "/v1/completions": {"prompt": "a"},
    }
    with server.http(server.new_key(scope)) as http:
        for method, path in routes():
            body = {"model": STARTER, **bodies.get(path, {"input": "a"})}
            told = http.request(method, _path(path), json=body)
            is_enough = (method, path) != NEEDS_CHAT_TOO and scope == scope_of(method, path)
            if scope == "admin" or is_enough:
                assert told.status_code not in (401, 403), (method, path, told.text)
                continue
            assert told.status_code == 403, (method, path, told.text)
            assert told.json()["error"]["code"] == "insufficient_permissions"


def test_a_revoked_key_is_refused_within_a_second(server: Running) -> None:
    key, secret = create_key(server.workspace.store, "default", "x", ["chat"])
    with server.http(secret) as http:
        assert http.get("/v1/models").status_code == 200
        revoke_key(server.workspace.store, key.id)
        time.sleep(auth.REMEMBERED_S + 0.1)
        assert http.get("/v1/models").status_code == 401


def test_no_body_is_read_before_the_key_is_known(server: Running) -> None:
    """A stranger who announces a gigabyte is told off at once."""
    import socket

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        )
        assert b" 401 " in connection.recv(4096)


def test_a_large_body_is_refused(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "BODY_BYTES", 1000)

    def parts() -> Any:
        for _ in range(10):
            yield b" " * 200

    with server.http() as http:
        headers = {"Content-Type": "application/json"}
        for path in ("/v1/chat/completions", "/v1/uploads", "/v1/uploads/x/complete"):
            for content in (b" " * 1001, parts()):
                told = http.post(path, content=content, headers=headers)
                assert told.status_code == 413
                assert told.json()["error"]["code"] == "request_too_large"
        files = {"file": ("a", b" " * 1001)}
        assert http.post("/v1/files", files=files, data={"purpose": "batch"}).status_code == 200


def test_a_key_has_so_many_requests_at_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    _, secret = create_key(workspace.store, "default", "x", ["chat"])
    begun, over = threading.Event(), threading.Event()

    def script(*_: Any) -> str:
        begun.set()
        over.wait(PATIENCE_S)
        return "a"

    app = create_app(workspace, ScriptedEngines(ScriptedEngine(script)), at_once=1)
    body = {"model": STARTER, "messages": [{"role": "user", "content": "a"}]}
    headers = {"Authorization": f"Bearer {secret}"}
    with TestClient(app, headers=headers) as client:
        first = threading.Thread(
            target=client.post, args=("/v1/chat/completions",), kwargs={"json": body}
        )
        first.start()
        assert begun.wait(PATIENCE_S)
        told = client.get("/v1/models")
        over.set()
        first.join()
        assert told.status_code == 429
        assert told.headers["Retry-After"] == "1"
        assert client.get("/v1/models").status_code == 200


def test_no_websocket_is_opened(tmp_path: Path) -> None:
    with (
        TestClient(create_app(Workspace(tmp_path), ScriptedEngines())) as client,
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/v1/models"),
    ):
        pass
