"""What is removed is gone, also where a comparison has ended without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.invariants.test_knowledge import CANARY, traces
from tests.knowledge.wordy import Wordy

from assay.errors import StateError
from assay.jobs import queue
from assay.jobs.recovery import revive
from assay.knowledge import pins
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.fixed_base import FixedBase
from assay.knowledge.sources import SourceFile
from assay.project.begun_copies import copy_of
from assay.project.kept_documents import pin_of
from assay.project.knowledge import removal, vector_stores
from assay.project.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """With two documents in `manuals`, one of them secret."""
    monkeypatch.setattr("assay.knowledge.base.open_embedder", lambda *_: Wordy())
    (root := tmp_path / "shop").mkdir()
    made = Workspace(root)
    files = []
    for name, text in (("open.md", "The shop opens at nine."), ("secret.md", f"A {CANARY}.")):
        (tmp_path / name).write_text(text)
        files.append(SourceFile(name, tmp_path / name))
    KnowledgeBase(made.store, made.name, "manuals").add(files)
    return made


def test_a_comparison_whose_worker_died_when_it_was_cancelled_keeps_nothing(
    workspace: Workspace,
) -> None:
    store = workspace.store
    id = queue.enqueue(store, workspace.name, "compare", {}, id=queue.new_id("compare"))
    base = FixedBase(store, workspace.name, "manuals", pin_of(id))
    base.keep()
    copy_of(workspace, id).mkdir(parents=True)
    assert queue.claim(store, "worker", ["compare"]) is not None
    queue.ask(store, id, "cancel")
    assert removal.remove(workspace, "manuals", ["secret.md"]).is_held
    revive(store, dead_workers=["worker"])
    removal.remove(workspace, "manuals", ["open.md"])
    assert list(traces(workspace.root)) == []
    assert not copy_of(workspace, id).exists()
    removal.remove_all(workspace, "manuals")


def test_what_is_searched_is_refused_before_anything_is_erased(workspace: Workspace) -> None:
    store, owner = workspace.store, workspace.name
    base = KnowledgeBase(store, owner, "manuals")
    copies = [base.sized_copy(tokens) for tokens in (16, 32)]
    for copy in copies:
        base.copy_to(copy, base.settings)
    FixedBase(store, owner, copies[1].name, "processab").keep()
    with pytest.raises(StateError, match="searches manuals\\."):
        vector_stores.remove(workspace, owner, "manuals", "user:ann")
    assert [len(one.documents()) for one in (base, *copies)] == [2, 2, 2]
    made = vector_stores.create(workspace, owner, "user:ann", name="Manuals")
    FixedBase(store, owner, made.id, "processab").keep()
    with pytest.raises(StateError):
        vector_stores.remove(workspace, owner, made.id, "user:ann")
    assert vector_stores.get(workspace, owner, made.id).name == "Manuals"
    pins.unpin(store, "processab")
    vector_stores.remove(workspace, owner, made.id, "user:ann")
