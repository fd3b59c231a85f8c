"""Requests with documents: served as they were compared, from one's own documents, none removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.words import SETTING, by_words, documented

from assay.agent.agent import Agent
from assay.agent.answering import GenerationOptions, Target, prepare
from assay.agent.passages import find_passages
from assay.agent.runtime import assemble
from assay.errors import NotFoundError
from assay.example import Example
from assay.knowledge.base import KnowledgeBase
from assay.store.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    by_words(monkeypatch)
    return documented(tmp_path)


def test_what_is_compared_is_what_is_served(store: Store) -> None:
    snapshot = KnowledgeBase(store, "support", "docs").snapshot
    setting = SETTING.model_copy(update={"snapshot": snapshot, "k": 1})
    agent = Agent(model="m", system_prompt="Be kind.", knowledge=setting)
    example = Example.of("Where do dogs travel?", "in the hold")
    [measured] = assemble(agent, [example], store, "support")
    assert "hold of the ferry" in measured.messages[-1].content
    assert measured.messages[-1].content.endswith("Where do dogs travel?")
    [asked] = prepare(
        Target("a@1", "m", agent), example.prompt, (), GenerationOptions(), store, "support"
    )
    assert asked.messages == measured.messages


def test_another_projects_documents_are_not_there(store: Store) -> None:
    agent = Agent(model="m", knowledge=SETTING)
    with pytest.raises(NotFoundError):
        assemble(agent, [Example.of("Where do dogs travel?", "")], store, "other")
    with pytest.raises(NotFoundError):
        assemble(agent, [Example.of("Where do dogs travel?", "")], store)


def test_a_removed_document_is_not_shown_from_an_old_snapshot(store: Store) -> None:
    base = KnowledgeBase(store, "support", "docs")
    setting = SETTING.model_copy(update={"snapshot": base.snapshot, "k": 3})
    row = [Example.of("Where do dogs travel, and what of breakfast?", "")]
    names = {passage.document for passage in find_passages(setting, row, store, "support")[0]}
    assert any(name.endswith("pets.md") for name in names)
    base.remove([name for name in names if name.endswith("pets.md")])
    after = {passage.document for passage in find_passages(setting, row, store, "support")[0]}
    assert not any(name.endswith("pets.md") for name in after)
    assert any(name.endswith("meals.md") for name in after)
