"""What a model name stands for, and the agent around a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.agent.agent import Agent
from assay.agent.answering import GenerationOptions, prepare
from assay.agent.versions import save_agent
from assay.errors import ModelError, UsageError
from assay.example import Message
from assay.jobs import queue
from assay.jobs.fine_tuning import TRAIN
from assay.models.versions import Version
from assay.project.answer.names import UnknownModelError, model_entries, own, resolve
from assay.project.workspace import Workspace
from assay.release.changes import promote
from assay.store.tables import FineTuningRow, ServedNameRow

STARTER = "smollm2-135m-instruct"
AGENT = Agent(
    model=STARTER,
    system_prompt="Label it.",
    shown=(({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}),),
    max_new_tokens=7,
    temperature=0.0,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_a_name_and_whose_it_is(workspace: Workspace) -> None:
    saved = save_agent(workspace.store, "labels", AGENT, message="m")
    version = "ab" * 32
    (workspace.store.folder / "versions" / version).mkdir(parents=True)
    with workspace.store.session() as session:
        session.add(ServedNameRow(name="ft:x", project="other", target="version:cdcdcdcd"))
    home = {
        STARTER: STARTER,
        "labels@1": STARTER,
        saved.agent: STARTER,
        f"version:{version}": f"version:{version}",
        version[:8]: f"version:{version}",
    }
    for name, model in home.items():
        assert resolve(workspace, name, "default", "k").model == model
    assert resolve(workspace, "ft:x", "other", "k").model == "version:cdcdcdcd"
    for name in (*list(home)[1:], "nothing"):
        with pytest.raises(UnknownModelError):
            resolve(workspace, name, "other", "k")
    for name in ("ft:x", "labels@2", "labels", "", ".", "version:", "ab", "all-minilm-l6-v2"):
        with pytest.raises(UnknownModelError):
            resolve(workspace, name, "default", "k")
    with workspace.store.session() as session:
        session.add(ServedNameRow(name="ft:y", project="other", target=f"version:{version}"))
    with pytest.raises(UnknownModelError):
        resolve(workspace, f"version:{version}", "default", "k")
    assert resolve(workspace, f"version:{version}", "other", "k").agent is None


def test_a_version_of_another_project_is_not_the_folders_own(workspace: Workspace) -> None:
    ours, theirs = "ab" * 32, "cd" * 32
    for version in (ours, theirs):
        (workspace.store.folder / "versions" / version).mkdir(parents=True)
    with workspace.store.session() as session:
        session.add(ServedNameRow(name="ft:x", project="other", target=f"version:{theirs}"))
    assert own(workspace, ours[:6]) == ours
    for name in (theirs[:6], "ef"):
        with pytest.raises(ModelError, match="no version"):
            own(workspace, name)


def test_a_version_that_has_no_name_yet_belongs_to_the_project_whose_job_made_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = "ab" * 32
    made = Version(id, None, "2026-01-01T00:00:00+00:00", "other")  # type: ignore[arg-type]
    (workspace.store.folder / "versions" / id).mkdir(parents=True)
    monkeypatch.setattr("assay.project.answer.names.find_version", lambda store, id: made)
    monkeypatch.setattr("assay.project.answer.names.list_versions", lambda store: [made])
    assert resolve(workspace, f"version:{id}", "default", "k")  # copied here: nobody else trains
    assert f"version:{id}" in {line.name for line in model_entries(workspace, "default")}
    queue.enqueue(workspace.store, "other", TRAIN, {}, id="ftjob-1")
    with workspace.store.session() as session:
        session.add(FineTuningRow(id="ftjob-1", project="other", request={}))
    assert resolve(workspace, f"version:{id}", "other", "k").model == f"version:{id}"
    with pytest.raises(UnknownModelError):
        resolve(workspace, f"version:{id}", "default", "k")
    assert f"version:{id}" not in {line.name for line in model_entries(workspace, "default")}


def test_a_release_comes_first(workspace: Workspace) -> None:
    saved = save_agent(workspace.store, "labels", AGENT, message="m")
    promote(workspace.store, "default", "support", "labels@1", who="me", force="first")
    target = resolve(workspace, "support", "default", "k")
    assert (target.agent, target.model) == (AGENT, STARTER)
    assert target.agent is not None
    assert target.agent.id == saved.agent
    assert "support" in {line.name for line in model_entries(workspace, "default")}
    with pytest.raises(UnknownModelError):
        resolve(workspace, "support", "other", "k")


def test_no_path_is_a_model(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for name in (str(tmp_path / "m"), "../m", "/etc/passwd", "~", "org/never-pulled"):
        with pytest.raises(UnknownModelError):
            resolve(workspace, name, "default", "k")


def test_what_a_client_says_goes_before_what_the_agent_says(workspace: Workspace) -> None:
    target = resolve_agent(workspace, AGENT)
    options = GenerationOptions(max_new_tokens=3, temperature=0.5)
    [asked] = prepare(target, [Message("user", "a")], (), options, workspace.store)
    sampling = asked.sampling
    assert (sampling.max_new_tokens, sampling.temperature, sampling.seed) == (3, 0.5, None)


def test_an_enforced_form_stays(workspace: Workspace) -> None:
    agent = AGENT.model_copy(update={"choices": ("x", "y"), "constrained": True})
    target = resolve_agent(workspace, agent)
    turns = [Message("user", "a")]
    [asked] = prepare(target, turns, (), GenerationOptions(), workspace.store)
    assert asked.sampling.choices == ("x", "y")
    tool: dict[str, Any] = {"type": "function", "function": {"name": "f"}}
    for options, tools in (
        (GenerationOptions(json_object=True), ()),
        (GenerationOptions(), (tool,)),
    ):
        with pytest.raises(UsageError):
            prepare(target, turns, tools, options, workspace.store)


def resolve_agent(workspace: Workspace, agent: Agent) -> Any:
    saved = save_agent(workspace.store, "a", agent, message="m")
    return resolve(workspace, f"a@{saved.version}", workspace.name, "k")
