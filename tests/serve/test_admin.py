"""Releases, traces, keys and the audit log over HTTP, one project at a time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from assay.accounts.costs import set_budget
from assay.accounts.keys import Caller, create_key, list_keys
from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.errors import ModelError
from assay.evaluate.parity import ParityError
from assay.example import Message
from assay.project.releases.correction_check import CorrectionError
from assay.release import changes, policies, releases, traces
from assay.serve.errors import of_assay
from assay.serve.traces import Feedback, feedback
from tests.many_rows import project
from tests.serve.running import STARTER, Running

ASKED = [{"role": "user", "content": "Where is my card?"}]
FORCED = {"force": "a test"}


@pytest.fixture(autouse=True)
def _agents(server: Running) -> None:
    for prompt in ("First.", "Second.", "Third."):
        agent = Agent(model=STARTER, system_prompt=prompt)
        save_agent(server.workspace.store, "tuned", agent, message=prompt)


def _post(server: Running, path: str, body: dict[str, Any], key: str | None = None) -> Any:
    with server.http(key) as http:
        return http.post(path, json=body)


def _error(told: httpx.Response, status: int, code: str) -> str:
    assert told.status_code == status, told.text
    error = told.json()["error"]
    assert error["code"] == code
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["message"])


def test_a_release_is_promoted_canaried_and_rolled_back(server: Running) -> None:
    key = server.new_key("releases")
    at = "/v1/releases/support"
    first = _post(server, f"{at}/promote", {"agent": "tuned@1", **FORCED}, key)
    assert first.status_code == 200, first.text
    assert (first.json()["object"], first.json()["number"]) == ("release.change", 1)
    _post(server, f"{at}/promote", {"agent": "tuned@2", **FORCED}, key)
    canary = _post(server, f"{at}/canary", {"agent": "tuned@3", "share": 0.1, **FORCED}, key)
    assert (canary.json()["canary"], canary.json()["share"]) == ("tuned@3", 0.1)
    wider = _post(server, f"{at}/canary", {"share": 0.25}, key)
    assert (wider.json()["canary"], wider.json()["share"]) == ("tuned@3", 0.25)
    with server.http(key) as http:
        [listed] = http.get("/v1/releases").json()["data"]
        assert (listed["object"], listed["name"], listed["agent"]) == (
            "release",
            "support",
            "tuned@2",
        )
        assert http.get(at).json() == listed
        assert http.post(f"{at}/rollback").json()["canary"] is None
        assert http.post(f"{at}/rollback").json()["agent"] == "tuned@1"
        history = http.get(f"{at}/history").json()["data"]
    assert [change["action"] for change in history] == [
        "rollback",
        "rollback",
        "canary",
        "canary",
        "promote",
        "promote",
    ]
    assert {change["who"] for change in history} == {history[0]["who"]}
    assert history[0]["who"].startswith("key_")
    assert history[-1]["reason"] == "a test"


def test_a_promotion_goes_through_the_gates(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = "/v1/releases/gated/promote"
    assert "no stored comparison" in _error(
        _post(server, at, {"agent": "tuned@1"}), 409, "not_proven"
    )
    assert "no agent" in _error(_post(server, at, {"agent": "tuned@9", **FORCED}), 404, "not_found")
    _error(_post(server, at, {"agent": "tuned", **FORCED}), 400, "invalid_value")
    _error(_post(server, at, {"agent": "tuned@1", "force": ""}), 400, "invalid_value")
    _error(_post(server, at, {"agent": "tuned@1", "force": " "}), 400, "invalid_value")
    _error(_post(server, at, {}), 400, "missing_required_parameter")
    _error(_post(server, at, {"agent": "tuned@1", "forced": "x"}), 400, "unknown_parameter")
    _error(_post(server, "/v1/releases/No/promote", {"agent": "tuned@1"}), 400, "invalid_value")

    def gate(workspace: object, engines: object, progress: object) -> Any:
        def ask(agent: Agent) -> None:
            assert engines is server.engines
            raise ParityError("it answers 'cat', not 'dog'.")

        return ask

    with monkeypatch.context() as patch:
        patch.setattr("assay.project.releases._gate", gate)
        said = _error(_post(server, at, {"agent": "tuned@1", **FORCED}), 409, "parity_refused")
    assert "'cat', not 'dog'" in said
    with server.http() as http:
        _error(http.get("/v1/releases/gated"), 404, "not_found")
        _error(http.get("/v1/releases/gated/history"), 404, "not_found")
        _error(http.post("/v1/releases/gated/rollback"), 404, "not_found")
    assert _post(server, at, {"agent": "tuned@1", **FORCED}).status_code == 200
    _error(_post(server, at, {"agent": "tuned@1", **FORCED}), 409, "invalid_state")
    with server.http() as http:
        _error(http.post("/v1/releases/gated/rollback"), 409, "invalid_state")
    share = "/v1/releases/gated/canary"
    _error(_post(server, share, {"share": 1}), 400, "invalid_value")
    _error(_post(server, share, {"share": 0}), 409, "invalid_state")
    assert issubclass(ParityError, ModelError)


def test_feedback_attaches_to_an_answer_by_its_id(server: Running) -> None:
    store, owner = server.workspace.store, server.workspace.name
    changes.promote(store, owner, "kept", "tuned@1", who="test", force="a test")
    policies.switch_on(store, owner, "kept", who="test")
    made = server.client().chat.completions.create(model="kept", messages=ASKED)  # type: ignore[arg-type]
    key = server.new_key("traces")
    at = f"/v1/traces/{made.id}"
    said = _post(server, f"{at}/feedback", {"thumb": "down"}, key).json()
    assert (said["object"], said["thumb"], said["corrected"]) == ("trace", "down", None)
    said = _post(server, f"{at}/feedback", {"corrected": "card_arrival"}, key).json()
    assert (said["thumb"], said["corrected"]) == ("down", "card_arrival")
    assert said.pop("warning") is None
    with server.http(key) as http:
        assert http.get(at).json() == said
        assert said in http.get("/v1/traces", params={"release": "kept"}).json()["data"]
        [only] = http.get("/v1/traces", params={"corrected": "true", "limit": 1}).json()["data"]
        assert only["id"] == made.id
        _error(http.get("/v1/traces/chatcmpl-none"), 404, "not_found")
        _error(http.get("/v1/traces", params={"limit": 0}), 400, "invalid_value")
    _error(_post(server, f"{at}/feedback", {}, key), 400, "invalid_value")
    _error(_post(server, f"{at}/feedback", {"thumb": "sideways"}, key), 400, "invalid_value")
    _error(_post(server, f"{at}/feedback", {"corrected": " "}, key), 400, "invalid_value")


def test_a_correction_is_refused_or_kept_with_a_warning(tmp_path: Path) -> None:
    workspace, settings = project(tmp_path, 30), tmp_path / "assay.yaml"
    settings.write_text(settings.read_text().replace("label 2]", "label 2, LABEL 1]"))
    assert workspace.project is not None
    workspace.project.split()
    asked, answer = [Message("user", "Where?")], Message("assistant", "label 0")
    warnings = []
    for owner in (workspace.name, "other"):  # which must not hear what the folder's rows say
        save_agent(workspace.store, "tuned", Agent(model=STARTER), message=owner)
        changes.promote(workspace.store, owner, "kept", "tuned@1", who="test", force="a test")
        policies.switch_on(workspace.store, owner, "kept", who="test")
        traces.record(
            workspace.store, owner, "kept", "a" * 64, id=owner, messages=asked, answer=answer
        )
        caller = Caller("key", owner, ("traces",))
        for corrected in ("LABEL 1", "label 1", None):
            body = Feedback(thumb="down", corrected=corrected)
            said = feedback(workspace, owner, body, caller)
            assert said["corrected"] == (corrected or "label 1")
            warnings.append(said["warning"])
    assert re.match(r"'LABEL 1' is written 'label 1' in \d+ rows\. Write it", warnings[0])
    assert warnings[1:] == [None] * 5
    caller = Caller("key", workspace.name, ("traces",))
    feedback(workspace, workspace.name, Feedback(thumb="up", corrected="label 1"), caller)
    body = Feedback(thumb="down", corrected="Label 1")
    with pytest.raises(CorrectionError) as refused:
        feedback(workspace, workspace.name, body, caller)
    told = of_assay(refused.value)
    assert (told.status, told.code, told.param) == (400, "invalid_value", "corrected")
    kept = traces.trace(workspace.store, workspace.name, workspace.name)
    assert (kept.thumb, kept.corrected) == ("up", "label 1")
    assert "Did you mean 'label 1'?" in str(told)
    body = Feedback(corrected="Label 1")  # what the other's answers are like is not known here
    assert feedback(workspace, "other", body, Caller("key", "other", ("traces",)))["corrected"]


def test_keys_are_made_listed_and_revoked_and_the_log_says_by_whom(server: Running) -> None:
    admin = server.new_key("admin", project="team-b")
    made = _post(server, "/v1/keys", {"name": "ci", "scopes": ["chat", "files"]}, admin).json()
    assert made["key"].startswith("assay-")
    assert (made["project"], made["scopes"]) == ("team-b", ["chat", "files"])
    with server.http(admin) as http:
        # Made in the same second, they come in either order.
        listed = {key["name"]: key for key in http.get("/v1/keys").json()["data"]}
        assert listed.keys() == {"test", "ci"}
        assert "key" not in listed["ci"]
        assert made["key"] not in http.get("/v1/keys").text
        assert server.http(made["key"]).get("/v1/models").status_code == 200
        assert http.delete(f"/v1/keys/{made['id']}").json()["revoked_at"]
        log = http.get("/v1/audit").json()
        assert [(entry["action"], entry["what"]) for entry in log["data"][:2]] == [
            ("key.revoke", made["id"]),
            ("key.create", made["id"]),
        ]
        assert log["data"][0]["who"] == listed["test"]["id"]
        assert not log["has_more"]
        page = http.get("/v1/audit", params={"limit": 1}).json()
        assert page["has_more"]
        rest = http.get("/v1/audit", params={"after": page["data"][0]["id"]}).json()["data"]
        assert rest == log["data"][1:]
        _error(http.delete("/v1/keys/key_none"), 404, "not_found")
    for body in ({"name": "x", "scopes": []}, {"name": "x", "scopes": ["all"]}, {"name": ""}):
        told = _post(server, "/v1/keys", body, admin)
        assert told.status_code == 400, told.text


def test_another_projects_things_are_not_there(server: Running) -> None:
    store, owner = server.workspace.store, server.workspace.name
    changes.promote(store, owner, "mine", "tuned@1", who="test", force="a test")
    policies.switch_on(store, owner, "mine", who="test")
    made = server.client().chat.completions.create(model="mine", messages=ASKED)  # type: ignore[arg-type]
    with server.http() as http:
        mine = http.get("/v1/keys").json()["data"][0]["id"]
    other = server.new_key("admin", project="other")
    with server.http(other) as http:
        assert http.get("/v1/releases").json()["data"] == []
        assert http.get("/v1/traces").json()["data"] == []
        for told in (
            http.get("/v1/releases/mine"),
            http.get("/v1/releases/mine/history"),
            http.post("/v1/releases/mine/rollback"),
            http.post("/v1/releases/mine/promote", json={"agent": "tuned@2", **FORCED}),
            http.post("/v1/releases/new/promote", json={"agent": "tuned@2", **FORCED}),
            http.post("/v1/releases/mine/canary", json={"share": 0}),
            http.post("/v1/releases/mine/canary", json={"share": 0.1, "agent": "tuned@2"}),
            http.get(f"/v1/traces/{made.id}"),
            http.post(f"/v1/traces/{made.id}/feedback", json={"thumb": "up"}),
            http.delete(f"/v1/keys/{mine}"),
        ):
            _error(told, 404, "not_found")
        seen = http.get("/v1/audit").json()["data"]
    assert [entry["action"] for entry in seen] == ["key.create"]
    assert releases.current(store, owner, "mine").label == "tuned@1"


def test_the_description_names_them(server: Running) -> None:
    with server.http() as http:
        paths = http.get("/openapi.json").json()["paths"]
    for path in (
        "/v1/releases/{name}/promote",
        "/v1/traces/{id}/feedback",
        "/v1/keys",
        "/v1/audit",
    ):
        for operation in paths[path].values():
            assert operation["description"]
            assert operation["tags"]


def test_a_key_with_a_budget_makes_no_key_without_one(server: Running) -> None:
    store = server.workspace.store
    key, secret = create_key(store, server.workspace.name, "ruler", ["admin"])
    set_budget(store, key.id, 1.0)
    told = _post(server, "/v1/keys", {"name": "free", "scopes": ["chat"]}, secret)
    assert "budget" in _error(told, 403, "insufficient_permissions")
    assert "free" not in [key.name for key in list_keys(store)]
