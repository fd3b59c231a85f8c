"""Agents changed by people: versions with who, when and why; no change over another's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from types import SimpleNamespace

import pytest

from assay.agent.agent import Agent, Nearest
from assay.agent.versions import save_agent
from assay.errors import AssayError, NotFoundError, StateError, UsageError
from assay.project import agents
from assay.project.workspace import Workspace
from assay.store import blobs

MODEL = "smollm2-135m-instruct"
TEXT = f"""\
# who answers
model: {MODEL}  # the small one
system_prompt: Be short.
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_every_save_is_a_version_with_who_when_and_why(workspace: Workspace) -> None:
    first = agents.save(workspace, "desk", TEXT, based_on=None, message="first", author="ann")
    draft = agents.read(workspace, "desk")
    assert (draft.text, draft.version) == (TEXT, first)
    warmer = TEXT.replace("short", "kind")
    agents.save(workspace, "desk", warmer, based_on=draft.hash, message="warmer", author="bob")
    assert [(v.label, v.author, v.message) for v in agents.history(workspace, "desk")] == [
        ("desk@2", "bob", "warmer"),
        ("desk@1", "ann", "first"),
    ]
    assert agents.read(workspace, "desk@1").text == TEXT
    assert agents.read(workspace, "desk").agent.system_prompt == "Be kind."
    assert [v.label for v in agents.list_agents(workspace)] == ["desk@2"]


def test_a_comment_alone_is_worth_a_version_and_the_same_text_is_not(workspace: Workspace) -> None:
    agents.save(workspace, "desk", TEXT, based_on=None, message="first")
    read = agents.read(workspace, "desk")
    assert agents.save(workspace, "desk", TEXT, based_on=read.hash, message="x").version == 1
    after = agents.save(workspace, "desk", TEXT + "# end\n", based_on=read.hash, message="y")
    assert (after.version, after.agent) == (2, read.agent.id)


def test_an_agent_that_a_comparison_saved_can_be_read_and_changed(workspace: Workspace) -> None:
    made = Agent(model=MODEL, system_prompt="a\nb")
    save_agent(workspace.store, "prompt", made, message="made by compare")
    draft = agents.read(workspace, "prompt")
    assert "  a\n  b\n" in draft.text
    saved = agents.save(
        workspace, "prompt", f"{draft.text}# mine\n", based_on=draft.hash, message="x"
    )
    assert (saved.version, saved.agent) == (2, made.id)


def test_a_stale_edit_is_refused(workspace: Workspace) -> None:
    agents.save(workspace, "desk", TEXT, based_on=None, message="first", author="ann")
    draft = agents.read(workspace, "desk")
    newer = TEXT.replace("short", "kind")
    agents.save(workspace, "desk", newer, based_on=draft.hash, message="second", author="bob")
    with pytest.raises(agents.StaleEditError, match="desk@2 by bob"):
        agents.save(workspace, "desk", f"{TEXT}# mine\n", based_on=draft.hash, message="third")
    with pytest.raises(agents.StaleEditError):
        agents.save(workspace, "desk", TEXT, based_on=None, message="as if it were new")
    with pytest.raises(agents.StaleEditError, match="it was deleted"):
        agents.save(workspace, "other", TEXT, based_on=draft.hash, message="never was")
    assert agents.read(workspace, "desk").text == newer


def test_of_two_saves_at_the_same_moment_one_is_refused(workspace: Workspace) -> None:
    agents.save(workspace, "desk", TEXT, based_on=None, message="first")
    read = agents.read(workspace, "desk").hash
    start, failed = Barrier(6), []

    def save(number: int) -> None:
        start.wait()
        try:
            text = TEXT.replace("short", f"number {number}")
            agents.save(workspace, "desk", text, based_on=read, message=str(number))
        except agents.StaleEditError:
            failed.append(number)

    threads = [Thread(target=save, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 5
    assert len(agents.history(workspace, "desk")) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: [", "line 1: the text is not YAML"),
        ("model: m\n", "line 1: model: there is no starter, folder or file"),
        ("model: version:abcdef123456\n", "line 1: model: there is no version"),
        ("model: version:abcdef123456/3\n", "line 1: model: weights cannot be stored in"),
        (f"model: classical:{'0' * 64}\n", "line 1: model: an agent of kind chat"),
        (f"kind: classical\nmodel: classical:{'0' * 64}\n", "line 2: model: there is no stored"),
        (f"kind: classical\nmodel: {MODEL}\n", "line 2: model: an agent of kind classical"),
        ("model: remote:house/large\n", "line 1: model: there is no provider 'house'"),
        (
            f"model: {MODEL}\nnearest:\n  k: 1\n  embedder: e\n  pool: ../../secret\n",
            "line 5: nearest.pool: there is no stored",
        ),
        (
            f"model: {MODEL}\nknowledge: {{name: nothing, k: 1, characters: 9}}\n",
            "line 2: knowledge.name: there is no",
        ),
        (
            f"model: {MODEL}\nconstrained: true\noutput_schema: {{type: array, contains: {{}}}}\n",
            "line 3: output_schema: constrained decoding does not support",
        ),
        (
            f"model: {MODEL}\noutput_schema: {{type: strin}}\n",
            "line 2: output_schema: this is not a JSON Schema",
        ),
    ],
)
def test_an_invalid_agent_is_never_stored(workspace: Workspace, text: str, said: str) -> None:
    assert str(agents.check(workspace, text)[0]).startswith(said)
    with pytest.raises(agents.InvalidAgentError, match="Nothing was saved"):
        agents.save(workspace, "desk", text, based_on=None, message="x")
    assert agents.list_agents(workspace) == []


@pytest.mark.parametrize("task", [None, "tools", "label"])
def test_only_calls_are_held_to_a_form_that_is_not_given(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, task: str | None
) -> None:
    config = None if task is None else SimpleNamespace(task=task)
    monkeypatch.setattr(Workspace, "config", config)
    found = agents.check(workspace, f"# x\nmodel: {MODEL}\nconstrained: true\n")
    said = "line 3: constrained: constrained needs output_schema or choices"
    assert [str(one).startswith(said) for one in found] == [True] * (task == "label")


def test_a_route_is_saved_where_its_arms_are_there(workspace: Workspace) -> None:
    arm = save_agent(workspace.store, "arm", Agent(model=MODEL), message="m").agent
    text = "kind: routed\nmodel: routed\nroute:\n  kind: cascade\n  confidence: answer\n"
    text += f"  threshold: 0.5\n  cheap: {arm}\n  strong: {{strong}}\n"
    with pytest.raises(agents.InvalidAgentError, match="line 3: route"):
        agents.save(workspace, "r", text.format(strong="a" * 64), based_on=None, message="m")
    saved = agents.save(workspace, "r", text.format(strong=arm), based_on=None, message="m")
    assert agents.read(workspace, saved.label).agent.kind == "routed"


@pytest.mark.parametrize("name", ["", "a b", "../x", "a@1", "x" * 101, "-x"])
def test_a_new_agent_has_a_proper_name(workspace: Workspace, name: str) -> None:
    with pytest.raises(UsageError, match=r"not a valid agent name|name is missing"):
        agents.save(workspace, name, TEXT, based_on=None, message="x")


def test_two_agents_are_set_side_by_side(workspace: Workspace) -> None:
    agents.save(workspace, "desk", TEXT, based_on=None, message="first")
    one = agents.read(workspace, "desk")
    pool = blobs.put(workspace.store, b"")
    text = f"{TEXT}nearest: {{k: 2, pool: {pool}, embedder: e}}\n".replace("short", "kind")
    agents.save(workspace, "desk", text, based_on=one.hash, message="second")
    found = agents.diff(workspace, "desk@1", "desk")
    assert (found["first"], found["second"]) == ("desk@1", "desk@2")
    assert found["fields"]["system_prompt"] == ["Be short.", "Be kind."]
    assert found["fields"]["nearest.k"] == [None, 2]
    assert found["texts"] == [TEXT, text]


def test_a_rollback_is_a_version_too(workspace: Workspace) -> None:
    agents.save(workspace, "desk", TEXT, based_on=None, message="first")
    with pytest.raises(StateError, match="only one version"):
        agents.rollback(workspace, "desk")
    read = agents.read(workspace, "desk")
    newer = TEXT.replace("short", "kind")
    agents.save(workspace, "desk", newer, based_on=read.hash, message="second")
    back = agents.rollback(workspace, "desk", author="eve")
    assert (back.label, back.author, back.message) == ("desk@3", "eve", "back to version 1")
    assert agents.read(workspace, "desk").text == TEXT
    with pytest.raises(StateError, match="says the same"):
        agents.rollback(workspace, "desk", 1)
    with pytest.raises(AssayError, match="no agent desk@9"):
        agents.rollback(workspace, "desk", 9)


@pytest.mark.parametrize(
    "ask",
    [agents.read, agents.history, agents.rollback, lambda w, n: agents.diff(w, n, n)],
)
def test_an_agent_that_is_not_there_is_told(
    workspace: Workspace, ask: Callable[[Workspace, str], object]
) -> None:
    save_agent(workspace.store, "prompt", Agent(model=MODEL), message="m")
    with pytest.raises(NotFoundError, match="There are: prompt"):
        ask(workspace, "desk")


def test_a_nearest_pool_is_text_of_its_blob(workspace: Workspace) -> None:
    agent = Agent(
        model=MODEL, nearest=Nearest(k=1, pool=blobs.put(workspace.store, b""), embedder="e")
    )
    save_agent(workspace.store, "near", agent, message="m")
    assert agents.check(workspace, agents.read(workspace, "near").text) == []
