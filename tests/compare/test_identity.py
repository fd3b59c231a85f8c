"""Another state of the documents is another comparison, and so is another server that answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from assay.agent.agent import Agent, Knowledge, make_routed
from assay.agent.engines import BatchEngines
from assay.agent.providers import Providers
from assay.agent.route import Rule, Rules
from assay.candidates.building import Candidate
from assay.compare import curve
from assay.compare.identity import Identity, identify
from assay.config import Config
from assay.evaluate.measure import Bench
from assay.knowledge.base import KnowledgeBase
from assay.store.store import Store
from tests.agent.routes import saved
from tests.knowledge.wordy import Wordy

CONFIG = {
    "name": "p",
    "task": "text",
    "data": {"file": "f"},
    "graders": [{"name": "exact"}],
    "primary": "exact",
    "candidates": ["prompt"],
}


def test_documents_of_an_arm_whose_state_is_given_up_count(tmp_path: Path) -> None:
    store = Store(tmp_path / ".assay")
    bench = Bench(
        Config.model_validate(CONFIG), tmp_path, store, cast(Any, SimpleNamespace(dtype="f"))
    )
    base = KnowledgeBase(store, bench.owner, "manuals", embedders=lambda _: Wordy())
    (docs := tmp_path / "docs").mkdir()
    for name in ("tea", "hours"):
        (docs / f"{name}.md").write_text(f"All that is known about {name}.")
    base.add([docs])
    knowledge = Knowledge(name="manuals", snapshot=base.snapshot, k=1, characters=1000)
    search = saved(store, "search", Agent(model="m", knowledge=knowledge))
    rule = Rule(to=search, pattern="tea")
    routed = make_routed(Rules(rules=(rule,), otherwise=saved(store, "plain")))

    def found() -> Identity:
        return identify("h", [Candidate(routed, (), (), name="rules")], bench, None, {})

    kept = found()
    (docs / "later.md").write_text("Something else.")
    base.add([docs / "later.md"])
    assert found() == kept  # its own state is still there
    base.remove([str(docs / "tea.md")])
    given_up = found()
    base.remove([str(docs / "hours.md")])
    assert len({kept.tests, given_up.tests, found().tests}) == 3


ONE, OTHER = "http://10.0.0.5:8001/v1", "http://10.0.0.5:8002/v1"
ADDRESSES: list[dict[str, Any]] = [{}, {"base_url": ONE}, {"base_url": OTHER}]
DECIDES_NOTHING = {"at_once": 3, "timeout_s": 9, "consent": True, "key_env": "KEY"}


def served(store: Store, vllm: dict[str, Any]) -> Bench:
    config = Config.model_validate(
        CONFIG | {"model": "m", "vllm": vllm or None, "generate": {"dtype": "float32"}}
    )
    engines = BatchEngines.of(config, store, Providers({}, store), "p")
    return Bench(config, store.folder, store, engines)


def test_a_vllm_server_at_another_address_is_another_comparison_where_it_answers(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / ".assay")
    arms = [saved(store, name, Agent(model=name)) for name in ("m", "other")]
    routed = make_routed(Rules(rules=(Rule(to=arms[0], pattern="tea"),), otherwise=arms[1]))

    def found(agent: Agent, vllm: dict[str, Any]) -> Identity:
        candidate = Candidate(agent, (), (), name="prompt")
        return identify("h", [candidate], served(store, vllm), None, {})

    for agent in (Agent(model="m"), routed):
        known = [found(agent, vllm) for vllm in ADDRESSES]
        for name in ("comparison", "tests", "speeds"):
            assert len({getattr(identity, name) for identity in known}) == 3
        assert found(agent, ADDRESSES[1] | DECIDES_NOTHING) == known[1]
    for agent in (Agent(model="other"), Agent(kind="classical", model="tfidf:0")):
        assert found(agent, {}) == found(agent, ADDRESSES[1])


def test_and_so_it_is_of_a_point_of_a_learning_curve(tmp_path: Path) -> None:
    store = Store(tmp_path / ".assay")

    def kept(name: str, vllm: dict[str, Any]) -> Path:
        return curve._Point.of(name, (), 0, (), served(store, vllm)).file

    known = [kept("few-shot", vllm) for vllm in ADDRESSES]
    assert len(set(known)) == 3
    assert kept("few-shot", ADDRESSES[1] | DECIDES_NOTHING) == known[1]
    assert len({kept("encoder", vllm) for vllm in ADDRESSES}) == 1
