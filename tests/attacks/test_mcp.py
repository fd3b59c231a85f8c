"""What a program may not do by way of MCP: the SDK's client, and requests that no client sends."""

from __future__ import annotations

import asyncio
import json
import time
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
from assay.compare.holdout import HOLDOUT
from assay.jobs import queue
from assay.jobs.events import PLAIN
from assay.jobs.worker import Work
from assay.mcp import agents as agent_tools
from assay.mcp.access import LocalAccess
from assay.mcp.http import MOST_BYTES
from assay.mcp.jobs import MOST_WAITS
from assay.mcp.server import create_server
from assay.progress import say_quoting
from assay.project import Project, agents
from assay.project.jobs import measuring
from assay.serve.auth import REMEMBERED_S
from assay.store.audit import audit

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
MODERN = "2026-07-28"
ABOUT = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
"""What every request of the newest protocol says of itself."""
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
            for reason in (
                "x" * 501,
                "red \x1b[31m",
                "why\nassay release promote pets x@1",
                "\u202e",
            ):
                assert "reason: " in await refused(session, "start_comparison", reason=reason)
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
            asked = {"release": "pets", "agent": "a@1", "reason": "\x1b]0;title\x07"}
            assert "reason: " in await refused(session, "propose_promotion", **asked)
            for release in ("../x", "A b", "<b>", ""):
                asked = {"release": release, "agent": "a@1", "reason": "because"}
                assert "release name" in await refused(session, "propose_promotion", **asked)

    async def begin() -> str:
        async with over_http(server.url, budgeted) as session:
            job = str((await call(session, "try_agent", agent="a@1"))["id"])
            await call(session, "change_job", job=job, wish="pause")
            return job

    async def spend(job: str) -> None:
        async with over_http(server.url, budgeted) as session:
            for tool, asked in (
                ("start_comparison", {"reason": "why"}),
                ("start_training", {}),
                ("try_agent", {"agent": "a@1"}),
                ("change_job", {"job": job, "wish": "resume"}),
            ):
                assert "has a budget" in await refused(session, tool, **asked)
            await call(session, "change_job", job=job, wish="cancel")

    asyncio.run(attack())
    asyncio.run(write())
    job = asyncio.run(begin())
    set_budget(server.workspace.store, _id(server, "b"), 1.0)
    time.sleep(REMEMBERED_S)
    asyncio.run(spend(job))
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


def test_streams_that_nothing_would_be_told_on_are_refused(server: Running) -> None:
    """By the newest protocol, in which all else is answered as by the others."""

    def ask(method: str, **params: Any) -> httpx.Response:
        told = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method, **ACCEPT}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": ABOUT}}
        with server.http(server.new_key("mcp")) as http:
            return http.post("/mcp", headers=told, json=body)

    assert "read_verdict" in ask("tools/list").text
    refused = ask("subscriptions/listen", notifications={"toolsListChanged": True})
    assert "Method not found" in refused.text
    assert '"listChanged":true' not in ask("server/discover").text.replace(" ", "")


def test_jobs_of_others_are_not_changed_and_tell_nothing_of_rows(server: Running) -> None:
    """What a provider says of a row of the holdout, or a fault does, is for the owner."""
    workspace, row = server.workspace, "Ann sees the cat"
    store, name = workspace.store, workspace.name

    async def attack(job: str) -> None:
        async with over_http(server.url, server.new_key("mcp")) as session:
            for wish in ("cancel", "pause", "resume"):
                told = await refused(session, "change_job", job=job, wish=wish)
                assert "somebody else" in told

    async def look(job: str, times: int = 1) -> list[dict[str, Any]]:
        async with over_http(server.url, server.new_key("mcp")) as session:
            asked = {"job": job, "seconds": 2}
            waits = [session.call_tool("wait_for_job", asked) for _ in range(times)]
            found = await asyncio.gather(*waits)
            return [one.structured_content for one in found if one.structured_content]

    says, known = f"2 of 64 requests failed (422: {row}); trying again.", "2 of 64 requests failed."
    begun = f"{HOLDOUT}prompt"
    older = f"1 of 64 requests was refused and scores 0 (422: {row})."  # kept without `plain`
    lines = (says, older, begun, says, f"the model says: {row}", f"{HOLDOUT}few-shot")
    plain = [known, "1 of 64 requests was refused and scores 0.", begun, f"{HOLDOUT}few-shot"]
    silent = f"the judge did not answer ({row})."
    quoting = f"m refuses every request ({row})."
    for kind, said, error, events, expected in (
        ("compare", lines, silent, plain, "it has failed while the holdout"),
        ("measure", (says, f"the model says: {row}"), silent, [], "it has failed. The owner"),
        (
            "compare",
            (),
            f"an unexpected error: KeyError: {row}",
            [],
            "an unexpected error. The owner",
        ),
        ("compare", (), quoting, [], "m refuses every request. What the provider says the owner"),
        ("compare", (), f"{workspace.root}/data.csv: no\n\x1b[31m", [], "data.csv: no \\x1b[31m"),
    ):
        id = queue.enqueue(store, name, kind, {})
        audit(store, name, "cli:root", f"job.{kind}", id)
        asyncio.run(attack(id))
        taken = queue.claim(store, "worker", [kind])
        assert taken is not None
        for line in said:
            work = Work(store, taken, 60)
            say_quoting(work, line, known) if line is says else work.say(line)
        queue.fail(
            store, taken, error, {PLAIN: "m refuses every request."} if error is quoting else None
        )
        [found] = asyncio.run(look(id))
        assert found["error"].startswith(expected)
        assert found["events"] == ["Queued.", "Started.", *events]
        assert row not in json.dumps(found)
    waiting = queue.enqueue(store, name, "compare", {})
    assert len(asyncio.run(look(waiting, MOST_WAITS + 1))) == MOST_WAITS
    queue.ask(store, waiting, "cancel")


def test_what_programs_keep_is_bounded_and_never_over_what_people_saved(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = server.workspace
    text = "model: smollm2-135m-instruct\nsystem_prompt: the owner's\n"
    agents.save(owner, "desk", text, based_on=None, message="mine")

    async def attack() -> None:
        async with over_http(server.url, server.new_key("mcp")) as session:
            mine = {"message": "why", "system_prompt": "x"}
            for asked in ({}, {"based_on": "desk@1"}):
                told = await refused(session, "save_agent", name="desk", **mine, **asked)
                assert "not saved by a program" in told
            assert "not saved" in await refused(session, "start_training", agent="desk")
            for number in (1, 2):
                asked = {**mine, "system_prompt": str(number), "based_on": "desk@1"}
                saved = await call(session, "save_agent", name="kept", **asked)
                assert saved["agent"] == f"kept@{number}"
            monkeypatch.setattr(agent_tools, "MOST_VERSIONS", 2)
            assert "all they may" in await refused(session, "save_agent", name="more", **mine)
            monkeypatch.setattr(measuring, "MOST_OPEN", 1)
            job = await call(session, "try_agent", agent="kept@1")
            assert "not over yet" in await refused(session, "try_agent", agent="kept@2")
            await call(session, "change_job", job=job["id"], wish="cancel")

    asyncio.run(attack())
    assert [one.version for one in agents.history(owner, "desk")] == [1]


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
        assert "cannot be the name of a project" in ask(name=name, data="pets.csv"), name
    assert "not a model of this machine" in ask(name="pets", data="pets.csv", model="/etc")
    assert "at most 63" in ask(name="x" * 64, data="pets.csv")
    (root / "mine").mkdir()
    (root / "mine" / "assay.yaml").write_text("name: mine\n")
    assert "a project already" in ask(name="pets", data="pets.csv")
    assert not (root / "pets").exists()


@pytest.mark.parametrize(
    ("place", "data"),
    [("root", "team/pets.csv"), ("root/team", "pets.csv"), ("root/team/pets", "data/pets.csv")],
)
def test_no_second_project_is_made_beside_below_or_around_one(
    tmp_path: Path, place: str, data: str
) -> None:
    (tmp_path / "root" / "team" / "pets" / "data").mkdir(parents=True)
    (tmp_path / "root" / "team" / "pets" / "assay.yaml").write_text("name: pets\n")
    write_csv(tmp_path / place / data)
    server = create_server(LocalAccess(tmp_path / place, lambda workspace: None))
    asked = {"name": "again", "data": data}
    with pytest.raises(ToolError, match="a project already"):
        asyncio.run(server.call_tool("create_project", asked))
    inside = create_server(LocalAccess(tmp_path / place / Path(data).parent, lambda _: None))
    with pytest.raises(ToolError, match="a project already"):
        asyncio.run(inside.call_tool("create_project", {"name": "again", "data": "pets.csv"}))
