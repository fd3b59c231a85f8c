"""Whom a removed document concerns: releases that search it, and verdicts that rest on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.routes import saved
from tests.knowledge.wordy import Wordy

from assay.agent.agent import Agent, Knowledge, make_routed
from assay.agent.route import Rule, Rules
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.intake import SourceFile
from assay.project import releases
from assay.project.knowledge import documents
from assay.project.knowledge.searching import (
    find_releases,
    find_releases_behind,
    has_other_documents,
)
from assay.project.workspace import Workspace
from assay.studio.pages.knowledge.page import explain_behind, explain_removal


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made, wordy = Workspace(tmp_path), Wordy()
    monkeypatch.setattr(Workspace, "embedder", lambda *_: wordy)
    files = []
    for name in ("tea", "hours"):
        (file := tmp_path / f"{name}.txt").write_text(f"All that is known about {name}.")
        files.append(SourceFile(file.name, file))
    documents.base(made, "shop").add(files)
    return made


def searching(base: KnowledgeBase, name: str = "") -> Agent:
    knowledge = Knowledge(name=name or base.name, snapshot=base.snapshot, k=1, characters=1000)
    return Agent(model="m", knowledge=knowledge)


def test_releases_that_search_are_named_through_routes_and_copies(workspace: Workspace) -> None:
    base, store = documents.base(workspace, "shop"), workspace.store
    plain, search = saved(store, "plain"), saved(store, "rag", searching(base))
    saved(store, "sized", searching(base, base.sized_copy(50).name))
    saved(store, "other", searching(base, "shopping"))
    rules = Rules(rules=(Rule(to=search, pattern="tea"),), otherwise=plain)
    saved(store, "routed", make_routed(rules))
    for name in ("plain", "rag", "sized", "other", "routed"):
        releases.promote(workspace, f"with-{name}", f"{name}@1", force="a test")
    assert find_releases(workspace, "shop") == ["with-rag", "with-routed", "with-sized"]
    releases.canary(workspace, "with-plain", 0.1, "rag@1", force="a test")
    assert "with-plain" in find_releases(workspace, "shop")
    assert find_releases_behind(workspace, "shop") == []
    (file := workspace.root / "later.txt").write_text("All that is known about later.")
    base.add([SourceFile(file.name, file)])
    assert find_releases_behind(workspace, "shop") == ["with-plain", "with-rag", "with-routed"]
    told = explain_behind(["with-rag"])
    assert "with-rag still answers from the documents that it was measured with" in told
    documents.remove(workspace, "shop", "tea.txt")
    assert find_releases_behind(workspace, "shop") == [], "their state was given up"


def test_that_documents_are_not_those_of_a_comparison_is_noticed(workspace: Workspace) -> None:
    base, store = documents.base(workspace, "shop"), workspace.store
    agents = [saved(store, "plain"), saved(store, "rag", searching(base)), "f" * 64]
    assert not has_other_documents(workspace, agents)
    documents.remove(workspace, "shop", "tea.txt")
    assert has_other_documents(workspace, agents)
    assert not has_other_documents(workspace, agents[:1])
    assert has_other_documents(workspace, [saved(store, "lost", searching(base, "lost"))])


def test_the_question_names_the_releases() -> None:
    assert "release" not in explain_removal([])
    assert "The release desk searches" in explain_removal(["desk"])
    assert "These releases search this knowledge base: a, b." in explain_removal(["a", "b"])
