"""What a program may not do by way of MCP: the SDK's client, and requests that no client sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.server.mcpserver.exceptions import ToolError
from tests.mcp import client
from tests.mcp.client import call, over_http, refused
from tests.serve.running import Running, running
from tests.small import small_project, write_csv

from assay.accounts.costs import set_budget
from assay.accounts.keys import create_key
from assay.jobs import queue
from assay.mcp.access import LocalAccess
from assay.mcp.http import MOST_BYTES
from assay.mcp.server import create_server
from assay.project import Project

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = small_project(tmp_path_factory.mktemp("attacked"))
    made.split()
    return made


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[Running]:
    with running(project.root) as server:
        yield server


def post(server: Running, key: str | None, body: bytes | dict[str, Any], **headers: str) -> int:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    bearer = {} if key is None else {"Authorization": f"Bearer {key}"}
    told = httpx.post(
        f"{server.url}/mcp", headers={**ACCEPT, **bearer, **headers}, content=sent, timeout=60
    )
    return told.status_code


def test_a_key_is_looked_at_before_a_body_is_parsed(server: Running) -> None:
    """A body that is no JSON gets no other answer than one that is."""
    workspace, good = server.workspace, server.new_key("mcp")
    _, elsewhere = create_key(workspace.store, "another", "x", ["mcp"])
    others = server.new_key("chat", "files", "fine_tuning", "releases", "knowledge", "traces")
    for key, status in ((None, 401), ("assay-x", 401), (others, 403), (elsewhere, 404)):
        assert post(server, key, b"{") == post(server, key, INITIALIZE) == status
    assert post(server, good, INITIALIZE) == 200
    assert post(server, good, b"{") == 400
    with server.http(good) as http:
        assert http.get("/mcp", headers=ACCEPT).status_code == 405
        assert http.delete("/mcp", headers=ACCEPT).status_code == 405
        assert http.get("/v1/models").status_code == 403
        assert http.post("/v1/releases/pets/promote", json={"agent": "x@1"}).status_code == 403
        assert http.post("/v1/keys", json={"name": "x", "scopes": ["admin"]}).status_code == 403


def test_bodies_end_at_their_limit(server: Running) -> None:
    key = server.new_key("mcp")
    large = {**INITIALIZE, "params": {"x": "a" * (MOST_BYTES + 1)}}
    assert post(server, key, large) == 413
    assert post(server, key, b"[" * (MOST_BYTES - 1)) == 400
    assert post(server, key, {**INITIALIZE, "params": {"x": [[]] * 100_000}}) in (200, 400)
    assert post(server, key, INITIALIZE, **{"Mcp-Session-Id": "another's"}) == 200


def test_rows_of_the_holdout_cannot_be_asked_for(server: Running, project: Project) -> None:
    client.said.clear()
    yaml = (project.root / "assay.yaml").read_bytes()
    _, budgeted = create_key(server.workspace.store, server.workspace.name, "b", ["mcp"])
    other = queue.enqueue(server.workspace.store, server.workspace.name, "export", {})

    async def attack() -> None:
        async with over_http(server.url, server.new_key("mcp")) as session:
            show = "show_training_examples"
            assert "no argument 'part'" in await refused(session, show, part="holdout")
            for count in (0, -1, 10**9, "all", None, [1]):
                assert "count: " in await refused(session, show, count=count)
            assert len(await call(session, show, count=20)) == 20
            await call(session, "describe_data")
            assert "no tool" in await refused(session, "show_holdout_examples")
            assert "no finished comparison" in await refused(session, "read_verdict")
            assert "comparison: " in await refused(session, "read_verdict", comparison="../x")
            long = {"reason": "x" * 501}
            assert "reason: " in await refused(session, "start_comparison", **long)
            unknown = {"reason": "why", "agents": ["../../etc@1"]}
            assert "agent" in await refused(session, "start_comparison", **unknown)
            # Jobs of other kinds, and of nobody.
            assert await call(session, "list_jobs") == []
            for id in (other, "nobody's"):
                assert "no job" in await refused(session, "change_job", job=id, wish="cancel")
                assert "no job" in await refused(session, "wait_for_job", job=id)

    async def write() -> None:
        async with over_http(server.url, server.new_key("mcp")) as session:
            for name in ("../../outside", "a/b", "", "x" * 101, "a\x00b", "a\nb"):
                asked = {"name": name, "message": "why", "system_prompt": "Hello"}
                assert "name" in await refused(session, "save_agent", **asked)
            model = {"message": "why", "system_prompt": "x", "model": "/etc/passwd"}
            assert "no argument" in await refused(session, "save_agent", name="a", **model)
            saved = {"message": "why", "system_prompt": "x", "based_on": "nobody@3"}
            assert "no agent" in await refused(session, "save_agent", name="a", **saved)
            await call(session, "save_agent", name="a", message="why", system_prompt="x")
            for release in ("../x", "A b", "<b>", ""):
                asked = {"release": release, "agent": "a@1", "reason": "because"}
                assert "release name" in await refused(session, "propose_promotion", **asked)

    async def spend() -> None:
        async with over_http(server.url, budgeted) as session:
            for tool, asked in (
                ("start_comparison", {"reason": "why"}),
                ("start_training", {}),
                ("try_agent", {"agent": "a@1"}),
            ):
                assert "has a budget" in await refused(session, tool, **asked)

    asyncio.run(attack())
    asyncio.run(write())
    set_budget(server.workspace.store, _id(server, "b"), 1.0)
    asyncio.run(spend())
    split = project.root / ".assay" / "split"
    lines = (split / "holdout.jsonl").read_text().splitlines()
    inputs = {json.loads(line)["messages"][-2]["content"] for line in lines}
    said = "\n".join(client.said)
    assert not [text for text in inputs if text in said]
    assert (project.root / "assay.yaml").read_bytes() == yaml
    assert project.openings() == []


def _id(server: Running, name: str) -> str:
    from assay.accounts.keys import list_keys

    return next(key.id for key in list_keys(server.workspace.store) if key.name == name)


def test_a_project_is_made_of_a_file_in_the_folder_alone(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / ".hidden").mkdir(parents=True)
    write_csv(tmp_path / "outside.csv")
    write_csv(root / ".hidden" / "pets.csv")
    (root / "link.csv").symlink_to(tmp_path / "outside.csv")
    (root / "folder").mkdir()
    (root / "ring.csv").symlink_to(root / "ring.csv")
    server = create_server(LocalAccess(root, lambda workspace: None))

    def ask(**arguments: Any) -> str:
        with pytest.raises(ToolError) as refusal:
            asyncio.run(server.call_tool("create_project", arguments))
        return str(refusal.value)

    for path in (
        *("../outside.csv", str(tmp_path / "outside.csv"), "link.csv", ".hidden/pets.csv"),
        *("folder", "ring.csv", "~/pets.csv", "missing.csv", "a\x00b.csv", "", ".", "/dev/zero"),
    ):
        assert "folder" in ask(name="pets", data=path), path
    write_csv(root / "pets.csv")
    for name in ("../x", "a/b", "/tmp/x", ".assay", "Pets", ""):
        assert "not a project name" in ask(name=name, data="pets.csv"), name
    assert "not a model of this machine" in ask(name="pets", data="pets.csv", model="/etc")
    assert "at most 63" in ask(name="x" * 64, data="pets.csv")
    (root / "mine").mkdir()
    (root / "mine" / "assay.yaml").write_text("name: mine\n")
    assert "a project already" in ask(name="pets", data="pets.csv")
    assert not (root / "pets").exists()
