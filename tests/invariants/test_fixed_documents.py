"""A comparison searches the documents that it was requested on, whatever becomes of them."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.scripted import ScriptedEngine
from tests.invariants.test_knowledge import CANARY, traces
from tests.knowledge.wordy import Wordy
from tests.small import ANIMALS, small_project
from tests.words import by_words

from assay.agent.engines import BatchEngines
from assay.candidates import registry
from assay.candidates.building import Candidate, Context, Stopwatch
from assay.compare import comparison
from assay.compare.performance import Performance
from assay.errors import StateError
from assay.generate.batch import Answer, Request
from assay.jobs.queue import Job
from assay.jobs.service import work_on
from assay.jobs.worker import Worker
from assay.knowledge import pins
from assay.knowledge.sources import SourceFile
from assay.project import comparisons, jobs
from assay.project.fingerprint import fingerprint
from assay.project.kept_documents import pin_of
from assay.project.knowledge import documents, removal
from assay.project.workspace import Workspace

SETTINGS = """candidates: [rag, rag-few-shot]
baselines: false
knowledge:
  paths: [docs]
  modes: [dense, bm25]
  ks: [2]
  chunk_tokens: [16, 200]
"""
SECRET = "secret.md"


def by_passages(request: Request, _: int) -> Answer:
    """An answer that any other passage would change."""
    text = "\n".join(turn.content for turn in request.messages)
    return Answer(ANIMALS[zlib.crc32(text.encode()) % 3], prompt_tokens=1, completion_tokens=1)


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A project with documents that nobody has indexed yet, and the result of a comparison that
    nobody disturbed. Time stands still in both."""
    with pytest.MonkeyPatch.context() as patch:
        by_words(patch)
        patch.setattr(Workspace, "embedder", lambda self, name: Wordy())
        patch.setattr(BatchEngines, "for_agent", lambda self, agent: ScriptedEngine(by_passages))
        still = Performance(1.0, 1.0, 1.0, 1.0, 1.0, timed=1)
        patch.setattr(comparison, "measure_performance", lambda *_: still)
        patch.setattr(Stopwatch, "seconds", lambda self: 1.0)
        folder = tmp_path_factory.mktemp("fixed")
        root = small_project(folder, rows=90).root
        path = root / "assay.yaml"
        path.write_text(path.read_text().split("candidates:")[0] + SETTINGS)
        docs = root / "docs"
        docs.mkdir()
        for animal in ANIMALS:
            near = (f"The {animal} is near the {place}. " for place in ("barn", "road", "shop"))
            (docs / f"{animal}.md").write_text(f"# {animal}\n\n{''.join(near) * 3}")
        secret = f"# Secret\n\nA {CANARY} near the river, house and tree. "
        (docs / SECRET).write_text(secret * 3)
        undisturbed = Workspace(shutil.copytree(root, folder / "undisturbed" / root.name))
        jobs.compare(undisturbed, agreed=fingerprint(undisturbed))
        yield root, result_of(undisturbed, worker_of(undisturbed).once())


def change_everything(workspace: Workspace) -> bool:
    """Documents are added, changed, hidden and removed, files too, and all is embedded otherwise;
    whether a comparison is said to search what was removed."""
    docs = workspace.root / "docs"
    (docs / "dog.md").write_text("# dog\n\nNobody knows where a dog is.")
    (docs / "new.md").write_text("# new\n\n" + "Near the river, house, tree, road, barn. " * 9)
    base = documents.base(workspace, "documents")
    files = [SourceFile(f"docs/{file.name}", file) for file in sorted(docs.iterdir())]
    base.add(files)
    base.add(files[:1], labels=["staff"])
    removed = removal.remove(workspace, "documents", [f"docs/{SECRET}"])
    shutil.rmtree(docs)
    documents.rebuild(workspace, "documents", embedder="another", chunk_tokens=20)
    return removed.is_held


def result_of(workspace: Workspace, job: Job | None) -> dict[str, Any]:
    """The result without the moments at which things were done."""
    assert job is not None
    assert job.status == "succeeded", job.error
    assert job.result is not None
    found = comparisons.result(workspace, job.result["comparison"]).model_dump(mode="json")
    del found["created_at"], found["plan"]["written_at"], found["plan"]["sha256"]
    for opening in found["openings"]:
        del opening["at"]
    return found


@pytest.mark.parametrize("when", ["before it runs", "between candidates", "on the holdout"])
def test_what_is_changed_meanwhile_is_not_seen(
    pets: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    root, expected = pets
    workspace = Workspace(shutil.copytree(root, tmp_path / root.name))
    job = jobs.compare(workspace, agreed=fingerprint(workspace))
    worker = worker_of(workspace)
    if when != "before it runs":
        with monkeypatch.context() as stopped:
            if when == "between candidates":
                stopped.setattr(registry, "build", interrupted_at("rag-few-shot"))
            else:
                stopped.setattr(comparison, "build_result", interrupt)
            with pytest.raises(KeyboardInterrupt):
                worker.once()
    assert change_everything(workspace)
    with pytest.raises(StateError, match="a comparison that is not over searches documents"):
        removal.remove_all(workspace, "documents")
    assert pins.names(workspace.store) == {pin_of(job.id)}
    assert result_of(workspace, worker.once()) == expected
    # Once it is over, nothing of what was removed is left.
    assert pins.names(workspace.store) == set()
    left = [place for place in traces(workspace.root) if "/runs/" not in place]
    assert left == []


def worker_of(workspace: Workspace) -> Worker:
    return work_on(workspace.store, [jobs.COMPARE], jobs.handlers(workspace))


def interrupted_at(wanted: str) -> Callable[[str, Context], Candidate]:
    build = registry.build

    def stops(name: str, context: Context) -> Candidate:
        if name == wanted:
            raise KeyboardInterrupt
        return build(name, context)

    return stops


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
