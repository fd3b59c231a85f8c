"""A project that begins with documents: an agent at once, and no verdict before people said yes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.small import small_project, write_model

from assay import builtin, project
from assay.errors import ConfigError, DataError, NotFoundError, StateError, UsageError
from assay.project import agents, questions, releases
from assay.project.knowledge import removal
from assay.project.project import Project
from assay.project.start.from_documents import DocumentProject, create_from_documents
from assay.project.workspace import open_to_serve

DOCUMENTS = (
    "booking",
    "duty-officer",
    "freight",
    "groups-and-schools",
    "terminals",
    "timetable-notes",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DocumentProject:
    folder = tmp_path_factory.mktemp("docs")
    model = write_model(folder / "model")
    (folder / "handbook").mkdir()
    for name in DOCUMENTS:
        shutil.copy(builtin.folder() / "handbook" / f"{name}.md", folder / "handbook")
    (folder / "prompt.txt").write_text("Answer like a purser.\n", encoding="utf-8")
    return create_from_documents(
        "manuals",
        folder / "handbook",
        prompt=folder / "prompt.txt",
        model=str(model),
        folder=folder / "manuals",
    )


@pytest.fixture
def fresh(made: DocumentProject, tmp_path: Path) -> Project:
    """The project before anybody has said yes, in a folder of the same name."""
    shutil.copytree(made.project.root, tmp_path / "manuals")
    return project.open(tmp_path / "manuals")


pytestmark = pytest.mark.slow


def test_documents_become_an_agent_that_is_served(made: DocumentProject) -> None:
    assert (made.added.documents, made.added.failed) == (len(DOCUMENTS), ())
    assert made.review_state.waiting > 61
    workspace = open_to_serve(made.project.root)
    draft = agents.read(workspace, "manuals")
    assert draft.agent.system_prompt == "Answer like a purser."
    assert draft.agent.knowledge is not None
    assert draft.agent.knowledge.snapshot is None
    assert agents.check(workspace, draft.text) == []
    (release,) = releases.list_releases(workspace)
    assert (release["name"], release["agent"]) == ("manuals", "manuals@1")
    assert release["reason"] == "assay init: not measured: 0 of 50 questions are approved."


def test_the_same_call_goes_on_and_another_is_refused(made: DocumentProject) -> None:
    root, model = made.project.root, made.project.config.model
    prompt = root.parent / "prompt.txt"
    again = create_from_documents(
        "manuals", root.parent / "handbook", prompt=prompt, model=model, folder=root
    )
    assert (again.agent, again.review_state) == (made.agent, made.review_state)
    with pytest.raises(UsageError, match="already exists"):
        create_from_documents("manuals", root / "knowledge", model=model, folder=root)


def test_nothing_is_measured_before_enough_are_approved(fresh: Project) -> None:
    waiting = questions.questions(fresh.store, fresh.owner, "waiting")
    with pytest.raises(StateError, match="not measured: 0 of 50"):
        fresh.split()
    now = questions.decide(fresh, [q.id for q in waiting[:49]], "approved", "ann")
    assert now.sentence == "not measured: 49 of 50 questions are approved."
    assert not (fresh.root / questions.FILE).exists()
    with pytest.raises(StateError, match="not measured: 49 of 50"):
        fresh.compare()
    questions.decide(fresh, [waiting[60].id], "rejected", "ann")
    questions.change(fresh, waiting[60].id, "bob", question="In my own words?", answer="yes")
    rows = [json.loads(line) for line in (fresh.root / questions.FILE).read_text().splitlines()]
    assert len(rows) == 50
    assert rows[-1]["question"] == "In my own words?"
    assert rows[0]["document"].startswith("knowledge/")
    assert fresh.split().train + fresh.split().validation + fresh.split().holdout <= 50
    questions.decide(fresh, [waiting[0].id], "rejected", "ann")
    with pytest.raises(StateError, match="not measured: 49 of 50"):
        fresh.split()


def test_a_file_that_a_killed_approval_did_not_write_is_written(fresh: Project) -> None:
    waiting = questions.questions(fresh.store, fresh.owner, "waiting")
    questions.decide(fresh, [q.id for q in waiting[:50]], "approved", "ann")
    questions.change(fresh, waiting[0].id, "ann", question="In my own words?")
    assert questions.drafted_note(fresh)[0].startswith("49 of 50 questions are unchanged drafts")
    (fresh.root / questions.FILE).unlink()
    assert fresh.split().rows == 50


def test_after_the_holdout_was_opened_questions_stay(
    fresh: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = questions.questions(fresh.store, fresh.owner)[0].id
    monkeypatch.setattr(Project, "openings", lambda self: ["one"])
    for change in (
        lambda: questions.decide(fresh, [first], "approved", "ann"),
        lambda: questions.change(fresh, first, "ann", answer="x"),
        lambda: questions.add(fresh, "What?", "ann"),
    ):
        with pytest.raises(StateError, match="no longer be changed"):
            change()
    assert questions.questions(fresh.store, fresh.owner, "approved") == []


def test_own_questions_with_and_without_an_answer(fresh: Project) -> None:
    with_answer = questions.add(
        fresh, "When?", "ann", answer="noon", document="knowledge/freight.md"
    )
    without = questions.add(fresh, "Who built the Tern?", "ann")
    assert (with_answer.state, with_answer.passage) == ("approved", "")
    assert (without.answer, without.document) == (questions.ABSTAIN, "")
    with pytest.raises(UsageError, match="must be given together"):
        questions.add(fresh, "When?", "ann", answer="noon")
    with pytest.raises(UsageError, match="question is missing"):
        questions.add(fresh, " ", "ann")
    with pytest.raises(UsageError, match=r"no document 'freigt\.md'\. Did you mean"):
        questions.add(
            fresh, "When?", "ann", answer="noon", document="freigt.md", among=["freight.md"]
        )
    with pytest.raises(NotFoundError, match="no question"):
        questions.decide(fresh, [without.id, "q999"], "rejected", "ann")
    assert questions.questions(fresh.store, fresh.owner, "rejected") == []


def test_what_cannot_be_a_project_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no documents"):
        create_from_documents("x", tmp_path / "empty", folder=tmp_path / "x")
    with pytest.raises(ConfigError, match="lowercase letters"):
        create_from_documents("No Name", builtin.folder() / "handbook", folder=tmp_path / "x")
    with pytest.raises(UsageError, match="prompt cannot be read"):
        create_from_documents("x", tmp_path, prompt=tmp_path / "none", folder=tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


def test_a_project_with_examples_of_its_own_has_no_standing(tmp_path: Path) -> None:
    assert questions.review(small_project(tmp_path)) is None


def test_a_removed_document_leaves_no_drafts_behind(fresh: Project) -> None:
    workspace = open_to_serve(fresh.root)
    document = "knowledge/freight.md"
    of = [q for q in questions.questions(fresh.store, fresh.owner) if q.document == document]
    questions.decide(fresh, [of[0].id], "approved", "ann")
    assert len(of) > 2
    removal.remove(workspace, "documents", [document])
    (kept,) = [q for q in questions.questions(fresh.store, fresh.owner) if q.document == document]
    assert (kept.id, kept.state, kept.passage) == (of[0].id, "approved", "")
    state = b"".join(f.read_bytes() for f in (fresh.root / ".assay").glob("assay.db*"))
    assert not any(q.passage.encode() in state for q in of)
    assert removal.coming_back(workspace, "documents", [document]) == [document]
    (fresh.root / document).unlink()
    assert removal.coming_back(workspace, "documents", [document]) == []
    # Numbers that are in use are not given again.
    assert questions.add(fresh, "Who built the Tern?", "ann").id not in {
        q.id for q in questions.questions(fresh.store, fresh.owner, "waiting")
    }
