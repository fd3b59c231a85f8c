"""Another state of the documents is another comparison, and so is another engine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from assay.agent.agent import Agent, Knowledge, make_routed
from assay.agent.route import Rule, Rules
from assay.candidates.building import Candidate
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


def test_answers_of_vllm_are_another_comparison_wherever_the_server_is(tmp_path: Path) -> None:
    store, engines = Store(tmp_path / ".assay"), cast(Any, SimpleNamespace(dtype="f"))
    candidate = Candidate(Agent(model="m"), (), (), name="prompt")

    def found(**vllm: str) -> Identity:
        config = Config.model_validate(CONFIG | ({"vllm": vllm} if vllm else {}))
        return identify("h", [candidate], Bench(config, tmp_path, store, engines), None, {})

    here, one, other = (
        found(),
        found(base_url="http://127.0.0.1:8001/v1"),
        found(base_url="http://127.0.0.1:8002/v1"),
    )
    assert here.comparison != one.comparison == other.comparison
    assert here.tests != one.tests == other.tests
    assert one.speeds != other.speeds
