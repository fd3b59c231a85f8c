"""An agent whose search was trained is promoted, is given the passages it was measured with over
HTTP, is refused where what was trained is gone, and is rolled back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.candidates.test_rag_tuned import make
from tests.candidates.test_rag_tuned_reranker import make_reranked
from tests.serve.running import running
from tests.serve.scripted import ScriptedEngine, ScriptedEngines

from assay import project
from assay.agent.agent import Agent, Knowledge
from assay.agent.runtime import assemble
from assay.agent.versions import save_agent
from assay.candidates import registry
from assay.candidates.building import Context
from assay.candidates.shared import retriever
from assay.config import KnowledgeSection
from assay.errors import UsageError
from assay.example import Message
from assay.generate.stream import Sampling
from assay.project import agents, releases
from assay.project.knowledge import documents
from assay.project.knowledge.vector_stores import vector_stores
from assay.project.workspace import Workspace


def reads(messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling) -> str:
    """A model that says all that it was asked."""
    return messages[-1].content.replace(" ", "_")


def make_embedded(folder: Path, patch: pytest.MonkeyPatch) -> Context:
    """A project whose embedder learns something, without a cross-encoder."""
    patch.setattr(retriever, "REFERENCE_RATE", 1e-2)
    return make(folder, patch)


@pytest.mark.parametrize(
    ("make_context", "trained"),
    [(make_embedded, ("embedder",)), (make_reranked, ("embedder", "rerank"))],
)
def test_it_is_served_as_measured_and_rolls_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_context: Callable[[Path, pytest.MonkeyPatch], Context],
    trained: tuple[str, ...],
) -> None:
    monkeypatch.setattr(releases, "_gate", lambda *_: None)  # of a language model; here is none
    context = make_context(tmp_path, monkeypatch)
    config = context.config.model_dump(mode="json", exclude_defaults=True)
    (tmp_path / "assay.yaml").write_text(json.dumps({"version": 1, **config}))
    lines = [f"{row.input},{row.output}\n" for row in context.train]
    (tmp_path / "pets.csv").write_text("input,output\n" + "".join(lines))
    workspace = project.open_workspace(tmp_path)
    tuned = registry.build("rag-tuned", context).agent
    assert tuned.knowledge is not None
    untuned = {"embedder": None, "snapshot": None, "rerank": None}
    plain = tuned.model_copy(update={"knowledge": tuned.knowledge.model_copy(update=untuned)})
    rows = context.judged
    for name, agent in (("rag", plain), ("rag-tuned", tuned)):
        save_agent(workspace.store, name, agent, message="a test")
        releases.promote(workspace, "support", f"{name}@1", force="a test")

    def asked(agent: Agent) -> list[str]:
        made = assemble(agent, rows, context.store, context.bench.owner)
        return [request.messages[-1].content for request in made]

    engines = ScriptedEngines(ScriptedEngine(reads))
    with running(tmp_path, lambda _: engines) as server:

        def served() -> list[str]:
            said = []
            for row in rows:
                turns = [{"role": "user", "content": row.input}]
                found = server.client().chat.completions.create(
                    model="support",
                    messages=turns,  # type: ignore[arg-type]
                )
                said.append((found.choices[0].message.content or "").replace("_", " "))
            return said

        assert served() == asked(tuned) != asked(plain)
        releases.rollback(workspace, "support")
        assert served() == asked(plain)
    text = agents.read(workspace, "rag-tuned").text
    assert agents.check(workspace, text) == []
    names = {setting: getattr(tuned.knowledge, setting) for setting in trained}
    for setting, name in names.items():
        gone = text.replace(name, f"tuned:{'0' * 64}")
        fields = {problem.field for problem in agents.check(workspace, gone)}
        assert fields == {f"knowledge.{setting}"}
    if "rerank" in names:
        other = text.replace(names["rerank"], names["embedder"])
        assert [problem.field for problem in agents.check(workspace, other)] == ["knowledge.rerank"]


def test_a_trained_embedder_is_used_only_by_agents_that_name_it(
    tmp_path: Path,
) -> None:
    """Else nobody would know which rows are behind what an agent finds."""
    workspace = Workspace(tmp_path)
    base, embedder = documents.base(workspace, "documents"), f"tuned:{'a' * 64}"
    base.create()
    copy = base.tuned_copy(embedder)
    copy.create()
    assert documents.names_for_agents(workspace) == ["documents"]
    assert [one.id for one in vector_stores(workspace, workspace.name)] == ["documents"]
    with pytest.raises(UsageError, match="trained embedder"):
        documents.rebuild(workspace, "documents", embedder=embedder)
    given: dict[str, Any] = {"k": 1, "characters": 100}
    assert Knowledge(name=base.sized_copy(50).name, **given)
    with pytest.raises(ValidationError, match="pattern"):
        Knowledge(name=copy.name, **given)
    with pytest.raises(ValidationError, match="pattern"):
        KnowledgeSection(name=copy.name)
