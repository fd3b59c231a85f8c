"""Nothing leaves without consent, whoever asks and however; nothing paid for is in no account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.generate.remote.provider import ProviderServer, delta, said, serving, streamed
from tests.serve.running import Running, running

from assay.accounts import costs, keys
from assay.accounts.costs import BudgetError
from assay.accounts.keys import STUDIO, find_key, list_keys
from assay.agent.agent import Agent, Knowledge, make_routed
from assay.agent.consent import ConsentError
from assay.agent.engines import BatchEngines, StreamEngines
from assay.agent.providers import Providers
from assay.agent.route import Rule, Rules
from assay.agent.texts import as_yaml
from assay.agent.versions import load_agent, save_agent
from assay.config import TokenPrice
from assay.errors import AssayError, ModelError
from assay.example import Message
from assay.generate.fallback import fallback_order
from assay.generate.stream import End
from assay.knowledge.base import KnowledgeBase
from assay.project import releases
from assay.project.agents import drafts
from assay.project.answer import playground
from assay.project.answer.answering import Receipt
from assay.project.workspace import Workspace
from assay.store.store import Store

MODEL = "remote:far/big"
ASKED = [Message("user", "When does the vault open?")]
USAGE = {"prompt_tokens": 100, "completion_tokens": 100}
GOOD = streamed(delta("fine"), delta(finish="stop"), {"choices": [], "usage": USAGE})
PRICES = {"big": TokenPrice(input=1.0, output=1.0)}
COST = 200 / 1e6


@pytest.fixture
def far() -> Iterator[ProviderServer]:
    with serving(lambda *_: GOOD) as served:
        yield served


@pytest.fixture
def server(
    tmp_path: Path, far: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    """A provider nobody has agreed to, and agents that would ask it, none of them promoted."""
    monkeypatch.setattr(KnowledgeBase, "search", lambda *_, **__: [[]])
    monkeypatch.setattr(KnowledgeBase, "documents", lambda *_: [])

    def engines(workspace: Workspace) -> StreamEngines:
        provider = far.provider(prices=PRICES, retries=0, consent=False)
        dead = provider.model_copy(update={"base_url": "http://127.0.0.1:9/v1", "consent": True})
        described = {"far": provider, "gone": dead}
        workspace.providers = Providers(described, workspace.store, workspace.name)
        knowing = Knowledge(name="vault", k=1, characters=1000)
        store = workspace.store
        save_agent(store, "plain", Agent(model=MODEL), message="x")
        away = save_agent(store, "away", Agent(model=MODEL, knowledge=knowing), message="x")
        rules = Rules(rules=(Rule(to=away.agent, pattern="vault"),), otherwise=away.agent)
        save_agent(store, "routed", make_routed(rules), message="x")
        save_agent(store, "falls", Agent(model="remote:gone/x"), message="x")
        chains = {"remote:gone/x": [MODEL]}
        monkeypatch.setattr(Workspace, "chain", lambda _, model: fallback_order(model, chains))
        return StreamEngines(store, None, workspace.providers, lambda m: fallback_order(m, chains))  # type: ignore[arg-type]

    with running(tmp_path, engines) as up:
        yield up


def engines_of(server: Running) -> Any:
    return server.engines


def heard(stream: Any) -> End:
    *_, end, receipt = stream
    assert isinstance(end, End)
    assert isinstance(receipt, Receipt)
    return end


def over_http(server: Running, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": ASKED[0].content}]}
    for path, asked in (
        ("chat/completions", body),
        ("chat/completions", {**body, "stream": True}),
        ("responses", {"model": model, "input": ASKED[0].content}),
    ):
        with server.http() as http:
            reply = http.post(f"/v1/{path}", json=asked)
        if reply.status_code != 200 or "fine" not in reply.text:
            assert reply.status_code in (200, 503), reply.text
            assert "127.0.0.1" not in reply.text
            raise ModelError("not answered")


def in_the_playground(server: Running, model: str) -> None:
    seen = server.workspace.act_as("user:ann")
    heard(playground.answer(seen, engines_of(server), model, ASKED))


def as_a_draft(server: Running, model: str) -> None:
    seen = server.workspace.act_as("user:ann")
    text = as_yaml(agent_of(server.workspace.store, model))
    heard(drafts.answer(seen, engines_of(server), text, ASKED))


def agent_of(store: Store, model: str) -> Agent:
    from assay.agent.versions import find_version

    return load_agent(store, find_version(store, model).agent)


CALLERS: dict[str, Callable[[Running, str], None]] = {
    "HTTP": over_http,
    "playground": in_the_playground,
    "draft": as_a_draft,
}


@pytest.mark.parametrize("caller", list(CALLERS))
@pytest.mark.parametrize("model", ["plain@1", "away@1", "routed@1", "falls@1", MODEL, "desk"])
def test_nobody_sends_anything_unasked(
    server: Running, far: ProviderServer, caller: str, model: str
) -> None:
    if caller == "draft" and "@" not in model:
        return
    workspace = server.workspace
    if model == "desk":  # promoted with a consent that is withdrawn again
        workspace.providers.agree("far")
        releases.promote(workspace, "desk", "plain@1", force="a test")
        withdraw(workspace)
    with pytest.raises(AssayError):
        CALLERS[caller](server, model)
    assert far.asked == []
    workspace.providers.agree("far")
    CALLERS[caller](server, model)
    assert far.asked


def withdraw(workspace: Workspace) -> None:
    from assay.store.tables import ConsentRow

    with workspace.store.session() as session:
        session.delete(session.get(ConsentRow, (workspace.name, "far")))
    workspace.providers._consents.clear()  # a second later


def test_nor_does_a_comparison(server: Running, far: ProviderServer) -> None:
    """The engines of everything that is measured ask, too, whoever has forgotten to."""
    engines = BatchEngines(server.workspace.store, providers=server.workspace.providers)
    for label in ("plain@1", "routed@1"):
        agent = agent_of(server.workspace.store, label)
        from assay.generate.batch import Request

        with pytest.raises(ConsentError):
            engines.for_agent(agent).answer([Request(tuple(ASKED))])
    assert far.asked == []


@pytest.mark.parametrize("caller", ["playground", "draft"])
def test_what_the_studio_asks_is_in_the_log_and_under_a_budget(
    server: Running, far: ProviderServer, caller: str
) -> None:
    workspace = server.workspace
    workspace.providers.agree("far")
    CALLERS[caller](server, "plain@1")
    workspace.usage.flush()
    [line] = costs.usage(workspace.store, workspace.name)
    assert (line["key"], line["model"], line["answers"]) == (STUDIO, MODEL, 1)
    assert line["usd"] == pytest.approx(COST)
    costs.set_budget(workspace.store, STUDIO, 0.02, project=workspace.name)
    CALLERS[caller](server, "plain@1")
    assert far.asked[-1]["max_tokens"]
    workspace.usage.flush()
    held = costs.budgets(workspace.store)[STUDIO]
    assert held.spent == pytest.approx(COST)
    costs.set_budget(workspace.store, STUDIO, COST * 2, project=workspace.name)
    count = len(far.asked)
    with pytest.raises(BudgetError):
        CALLERS[caller](server, "plain@1")
    assert len(far.asked) == count


def test_so_is_the_one_word_that_a_provider_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.project.settings.providers import try_model_over_web

    with serving(lambda *_: said("ready", usage=USAGE)) as far:
        workspace = Workspace(tmp_path).act_as("user:ann")
        described = {"far": far.provider(prices=PRICES, retries=0)}
        monkeypatch.setattr(workspace, "providers", Providers(described, workspace.store, "p"))
        workspace.usage._providers = workspace.providers
        for usd in (None, 1.0):
            if usd is not None:
                costs.set_budget(workspace.store, STUDIO, usd, project=workspace.name)
            assert try_model_over_web(workspace, "far", "big")["text"] == "ready"
        workspace.usage.flush()
        [line] = costs.usage(workspace.store, workspace.name)
        assert (line["key"], line["answers"]) == (STUDIO, 2)
        assert costs.budgets(workspace.store)[STUDIO].spent == pytest.approx(COST)


def test_an_answer_that_nobody_reads_on_counts_in_full(server: Running) -> None:
    workspace = server.workspace
    workspace.providers.agree("far")
    costs.set_budget(workspace.store, STUDIO, 1.0, project=workspace.name)
    stream = playground.answer(workspace, engines_of(server), "plain@1", ASKED)
    next(stream)
    stream.close()
    stream.close()
    workspace.usage.flush()
    assert costs.budgets(workspace.store)[STUDIO].spent > COST


@pytest.mark.parametrize("first", ["route", "answer"])
def test_whoever_hears_first_that_it_was_cut_counts_it_in_full(server: Running, first: str) -> None:
    """A reader in another thread may see the end of a closed stream before it is settled."""
    workspace = server.workspace
    workspace.providers.agree("far")
    costs.set_budget(workspace.store, STUDIO, 1.0, project=workspace.name)
    stream = playground.answer(workspace, engines_of(server), "plain@1", ASKED)
    next(stream)
    if first == "route":
        stream._answering._prepared.routes[0].close()
        assert list(stream) == []
    stream.close()
    workspace.usage.flush()
    assert costs.budgets(workspace.store)[STUDIO].spent > COST


def test_an_answer_that_is_closed_before_it_begins_costs_nothing(
    server: Running, far: ProviderServer
) -> None:
    workspace = server.workspace
    workspace.providers.agree("far")
    costs.set_budget(workspace.store, STUDIO, 1.0, project=workspace.name)
    stream = playground.answer(workspace, engines_of(server), "plain@1", ASKED)
    stream.close()
    assert list(stream) == []
    workspace.usage.flush()
    assert (far.asked, costs.budgets(workspace.store)[STUDIO].spent) == ([], 0.0)


def test_the_studio_s_key_opens_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    costs.set_budget(workspace.store, STUDIO, 1.0, project=workspace.name)
    assert list_keys(workspace.store) == []
    assert keys.first_key(workspace.store, workspace.name) is not None
    assert find_key(workspace.store, STUDIO) is None
    for change in (keys.revoke_key, lambda store, id: keys.rename_key(store, id, "x")):
        with pytest.raises(AssayError):
            change(workspace.store, STUDIO)
