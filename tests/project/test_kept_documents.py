"""What a comparison without a job keeps, until it has ended."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.agent.routes import saved
from tests.knowledge.wordy import Wordy

from assay.agent.agent import Agent, Knowledge, make_routed
from assay.agent.route import Rule, Rules
from assay.agent.versions import find_version
from assay.knowledge import pins
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.fixed_base import FixedBase
from assay.project.kept_documents import keep_documents
from assay.store.store import Store


def test_states_that_arms_of_a_saved_agent_were_measured_on_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / ".assay")
    base = KnowledgeBase(store, "shop", "manuals", embedders=lambda _: Wordy())
    (tea := tmp_path / "tea.md").write_text("Green tea is steeped for two minutes.")
    base.add([tea])
    measured = base.snapshot
    knowledge = Knowledge(name="manuals", snapshot=measured, k=1, characters=1000)
    search = saved(store, "search", Agent(model="m", knowledge=knowledge))
    rule = Rule(to=search, pattern="tea")
    saved(store, "routed", make_routed(Rules(rules=(rule,), otherwise=saved(store, "plain"))))
    tea.write_text("Green tea is steeped for three minutes.")
    base.add([tea])
    made = SimpleNamespace(
        pin=None, store=store, owner="shop", config=SimpleNamespace(knowledge=None)
    )
    with keep_documents(cast(Any, made), [find_version(store, "routed@1")]) as pin:
        base.remove([str(tea)])
        assert not base.has_snapshot(measured)
        kept = FixedBase(store, "shop", "manuals", pin, embedders=lambda _: Wordy())
        for snapshot, text in ((measured, "two"), (None, "three")):
            [[found]] = kept.search(["tea"], k=1, mode="bm25", snapshot=snapshot)
            assert text in found.text
    assert pins.names(store) == set()
