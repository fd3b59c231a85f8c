"""Releases over HTTP: who answers, and what is kept of it."""

from __future__ import annotations

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.release import changes, policies
from assay.release.traces import traces
from tests.agent.routes import cascade, saved
from tests.serve.running import STARTER, Running

ASKED = [{"role": "user", "content": "Write to ann.lee@harbourmail.com, please."}]


def released(server: Running, name: str) -> None:
    store, owner = server.workspace.store, server.workspace.name
    for prompt in ("First.", "Second."):
        agent = Agent(model=STARTER, system_prompt=prompt)
        label = save_agent(store, f"{name}-agent", agent, message=prompt).version
        changes.promote(store, owner, name, f"{name}-agent@{label}", who="test", force="a test")


def system_prompt(server: Running, name: str) -> str:
    server.client().chat.completions.create(model=name, messages=ASKED)  # type: ignore[arg-type]
    return str(server.engine.asked[-1][0][0].content)


def test_a_release_answers_with_its_agent_and_rolls_back(server: Running) -> None:
    released(server, "support")
    assert "support" in {model.id for model in server.client().models.list()}
    assert system_prompt(server, "support") == "Second."
    changes.rollback(server.workspace.store, server.workspace.name, "support", who="test")
    assert system_prompt(server, "support") == "First."


def test_traces_are_kept_once_switched_on_and_never_before(server: Running) -> None:
    released(server, "kept")
    store, owner = server.workspace.store, server.workspace.name
    system_prompt(server, "kept")
    assert not traces(store, owner, "kept", count=9)
    policies.switch_on(store, owner, "kept", who="test")
    made = server.client().chat.completions.create(
        model="kept",
        messages=ASKED,  # type: ignore[arg-type]
        tools=[
            {"type": "function", "function": {"name": "send", "parameters": {"type": "object"}}}
        ],
    )
    [kept] = traces(store, owner, "kept", count=9)
    assert kept.id == made.id
    assert [tool["function"]["name"] for tool in kept.tools] == ["send"]
    assert "ann.lee@harbourmail.com" not in str(kept.to_dict())
    assert str(kept.answer["content"]).startswith("Write to <")


def test_a_route_asks_its_arms_and_its_trace_says_which(server: Running) -> None:
    store, owner = server.workspace.store, server.workspace.name
    agent = cascade(store, "cheap", "strong")
    saved(store, "routed-agent", agent)
    changes.promote(store, owner, "routed", "routed-agent@1", who="test", force="a test")
    policies.switch_on(store, owner, "routed", who="test")
    before = len(server.engines.models)
    made = server.client().chat.completions.create(model="routed", messages=ASKED)  # type: ignore[arg-type]
    # This engine does not tell how sure it is: the strong arm answers, and both are paid.
    assert server.engines.models[before:] == ["cheap", "strong"]
    prompts = [str(asked[0][0].content) for asked in server.engine.asked[-2:]]
    assert prompts == ["I am cheap.", "I am strong."]
    assert made.usage is not None
    assert made.usage.prompt_tokens == 4
    assert made.choices[0].message.content == ASKED[0]["content"]
    [kept] = traces(store, owner, "routed", count=9)
    assert kept.usage is not None
    assert agent.route is not None
    assert kept.usage["asked"] == list(agent.route.arms)
    assert 0 < kept.usage["usd"] < 0.01  # of the machine's time
    assert kept.agent == agent.id
    chunks = server.client().chat.completions.create(
        model="routed",
        messages=ASKED,  # type: ignore[arg-type]
        stream=True,
        n=2,
    )
    said = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == [ASKED[0]["content"]] * 2
