"""Comparisons as jobs, and the figures of trainings."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from tests.small import small_project

from assay.compare import comparison
from assay.data.split import SplitManifest
from assay.errors import HoldoutError, StateError, StoreError, UsageError
from assay.jobs import queue
from assay.jobs.service import work_on
from assay.progress import SILENT, Progress
from assay.project import begun_copies, jobs
from assay.project.fingerprint import fingerprint
from assay.project.jobs import begun, curves
from assay.project.jobs.curves import MOST_POINTS, Figures
from assay.project.programs import start_comparison
from assay.project.project import Project
from assay.project.workspace import Workspace


def test_only_a_project_can_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        jobs.compare(Workspace(tmp_path))


@pytest.mark.slow
def test_a_comparison_is_a_job_that_can_be_cancelled_and_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = {"  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
    made = small_project(tmp_path, edit=edit, tiny_embedder=True)
    workspace = Workspace(made.root)
    first = jobs.compare(workspace.act_as("user:ann"), reason="a test")
    with pytest.raises(StateError, match="already queued"):
        jobs.compare(workspace)
    assert jobs.ask(workspace, first.id, "cancel").status == "cancelled"
    agreed = fingerprint(workspace)
    second = jobs.compare(workspace, agreed=agreed)
    # It has its copy: edits of settings and examples count from the next one, before it runs too.
    settings = (made.root / "assay.yaml").read_text()
    later = settings.replace("monthly_requests: 10000", "monthly_requests: 55")
    (made.root / "assay.yaml").write_text(later)
    worker = work_on(workspace.store, [jobs.COMPARE], jobs.handlers(workspace))
    with monkeypatch.context() as stopped:
        stopped.setattr(Project, "compare", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            worker.once()
    edited = [made.root / "assay.yaml", made.root / made.config.data.file]
    texts = [settings, edited[1].read_text()]
    edited[0].write_text(texts[0].replace("monthly_requests: 10000", "monthly_requests: 66"))
    edited[1].write_text("\n".join(texts[1].splitlines()[:-3]) + "\n")
    done = worker.once()
    for path, text in zip(edited, texts, strict=True):
        path.write_text(text)
    assert done is not None
    assert (done.id, done.status) == (second.id, "succeeded"), done.error
    assert done.result is not None
    job, events = jobs.look(workspace, second.id)
    assert any(event.message == "Candidate prompt" for event in events)
    # Measured here and now, and corrected while it runs, as at the command line.
    assert any("as fast as this machine is now" in event.message for event in events)
    assert [one.id for one in jobs.list_jobs(workspace, jobs.COMPARE)] == [second.id, first.id]
    assert jobs.look(workspace, job.id, events[-1].key)[1] == []
    assert fingerprint(workspace) == agreed  # what a comparison makes is no change
    third = jobs.compare(workspace, agreed=agreed)
    shutil.rmtree(made.root / ".assay" / "begun" / third.id)  # a worker of another machine has none
    path = made.root / "assay.yaml"
    path.write_text(path.read_text().replace("monthly_requests: 10000", "monthly_requests: 77"))
    ended = worker.once()
    assert ended is not None
    assert (ended.id, ended.status) == (third.id, "failed")
    assert ended.error is not None
    assert "settings or the version of Assay were changed after" in ended.error
    assert len(made.openings()) == 1
    assert list((made.root / ".assay" / "begun").iterdir()) == []


@pytest.mark.slow
def test_of_programs_that_start_at_once_one_does_and_the_limit_is_the_one_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small_project(tmp_path)
    made.split()
    path = made.root / "assay.yaml"
    text = path.read_text().split("candidates:")[0]

    def allow(openings: int) -> None:
        own = "candidates: [baseline-tfidf]\nbaselines: false\n"
        path.write_text(f"{text}{own}mcp: {{openings: {openings}}}\n")

    allow(1)
    program = Workspace(made.root).act_as("mcp: key x")
    work = work_on(program.store, [jobs.COMPARE], jobs.handlers(program)).once
    together = Barrier(8)

    def start(_: int) -> str:
        together.wait()
        try:
            return start_comparison(program, reason="why").status
        except StateError as error:
            return error.what

    with ThreadPoolExecutor(8) as threads:
        told = Counter(threads.map(start, range(8)))
    assert told == {"queued": 1, "a comparison is already queued.": 7}
    allow(0)
    refused = work()
    assert refused is not None
    assert "does not allow programs" in (refused.error or "")
    assert made.openings() == []
    allow(1)
    start_comparison(program, reason="why")
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "build_result", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            work()  # once it has opened
    jobs.ask(program, jobs.list_jobs(program)[0].id, "cancel")
    start_comparison(program, reason="once more")  # goes on with the last opening that is allowed
    done = work()
    assert done is not None
    assert done.status == "succeeded", done.error
    assert [(one.number, one.who) for one in made.openings()] == [(1, "mcp: key x")]
    with pytest.raises(HoldoutError, match="programs have opened this holdout once"):
        start_comparison(program, reason="another")
    id = queue.enqueue(program.store, program.name, jobs.COMPARE, {"agents": [], "reason": "old"})
    asked: list[str | None] = []
    monkeypatch.setattr(Project, "compare", lambda self, **given: asked.append(given["who"]))
    assert (work() or done).id == id
    assert asked == [program.who]


@pytest.mark.parametrize("status", ["queued", "paused", "cancelled"])
def test_the_holdout_stays_while_a_comparison_that_will_open_it_is_not_over(
    tmp_path: Path, status: str
) -> None:
    made = small_project(tmp_path, rows=60)
    workspace = Workspace(made.root)
    job = jobs.compare(workspace)
    taken = made.split().holdout_sha256
    if status != "queued":
        jobs.ask(workspace, job.id, "pause" if status == "paused" else "cancel")
    assert jobs.look(workspace, job.id)[0].status == status
    data = made.root / made.config.data.file
    data.write_text(data.read_text() + "Zoe feeds a cat at sea,cat\nZoe walks two dogs home,dog\n")
    after = Project(made.root).split()  # as another process
    assert (after.holdout_sha256 == taken) == (status != "cancelled")
    assert after.rows == 62


def test_what_a_comparison_begins_with_is_of_one_edit_and_goes_with_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small_project(tmp_path)
    workspace, split = Workspace(made.root), Project.split
    copies = made.root / ".assay" / "begun"

    def edit_after(project: Project, progress: Progress = SILENT) -> SplitManifest:
        manifest = split(project, progress)
        monkeypatch.setattr(Project, "split", split)
        data = made.root / made.config.data.file
        data.write_text("\n".join(data.read_text().splitlines()[:-40]) + "\n")
        path = made.root / "assay.yaml"
        path.write_text(path.read_text().replace("monthly_requests: 10000", "monthly_requests: 66"))
        Project(made.root).split()  # as another process
        return manifest

    job = jobs.compare(workspace)
    begun_copies.end(workspace, job.id)  # as on a worker of another machine
    monkeypatch.setattr(Project, "split", edit_after)
    began = begun.begin(workspace, job.id)
    assert "monthly_requests: 66" in began.text
    assert began.split() == made.split()
    (copies / "of-a-dead-worker").mkdir()
    (copies / f"{job.id}.draft").mkdir()
    begun_copies.remove_left(workspace)
    assert len(list(copies.iterdir())) == 3  # whoever has just copied is about to queue
    monkeypatch.setattr(begun_copies, "_YOUNG_S", -1.0)
    begun_copies.remove_left(workspace)
    assert {path.name for path in copies.iterdir()} == {job.id, f"{job.id}.draft"}
    jobs.ask(workspace, job.id, "cancel")
    begun_copies.remove_left(workspace)
    assert list(copies.iterdir()) == []


def _interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_figures_grow_and_the_best_step_is_found(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    id = queue.enqueue(workspace.store, workspace.name, "test", {})
    job = queue.claim(workspace.store, "worker", ["test"])
    assert job is not None
    _, empty, tuning = curves.look(workspace, id, Figures())
    assert (empty.points, empty.best_step, tuning) == ((), None, None)
    for step in range(1, 4):
        data = {"step": step, "total_steps": 3, "train_loss": 1.0 / step}
        queue.note(workspace.store, job, "", data, kind="metrics")
        data = {"step": step, "total_steps": 3, "full_valid_loss": abs(step - 2) + 0.5}
        queue.note(workspace.store, job, "", data, kind="metrics")
    _, found, _ = curves.look(workspace, id, empty)
    assert [point["step"] for point in found.points] == [1, 2, 3]
    assert (found.best_step, found.total) == (2, 3)
    assert found.points[0]["train_loss"] == 1.0
    assert found.points[0]["validation_loss"] == 1.5
    _, again, _ = curves.look(workspace, id, found)
    assert again == found


def test_rewards_are_figures_of_their_own(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    id = queue.enqueue(workspace.store, workspace.name, "test", {})
    job = queue.claim(workspace.store, "worker", ["test"])
    assert job is not None
    rollouts = [{"row": "row-1", "answer": "no", "reward": 0.0}]
    for data in (
        {"step": 0, "valid_reward_mean": 0.0, "other_graders": {"exact": 0.5}},
        {"step": 1, "train_reward_mean": 0.0, "rollouts": rollouts},
        {"step": 1, "valid_reward_mean": 0.25, "valid_completion_tokens_mean": 4.0, "kl": 0.5},
        {"step": 2, "train_reward_mean": 1.0, "train_completion_tokens_mean": 3.0},
    ):
        queue.note(workspace.store, job, "", {"total_steps": 2, **data}, kind="metrics")
    _, found, _ = curves.look(workspace, id, Figures())
    assert (found.points, found.best_step, found.total) == ((), 1, 2)
    assert [point["reward"] for point in found.rewards] == [None, 0.0, 1.0]
    assert [point["valid_reward"] for point in found.rewards] == [0.0, 0.25, None]
    assert found.rewards[0]["others"] == {"exact": 0.5}
    assert (found.rewards[1]["kl"], found.rewards[1]["valid_tokens"]) == (0.5, 4.0)
    assert found.rollouts == (1, tuple(rollouts))
    assert curves.look(workspace, id, found)[1] == found


def test_a_long_curve_is_thinned_but_no_validation_is_lost() -> None:
    points = tuple(
        {
            "step": s,
            "epoch": 0.0,
            "train_loss": 1.0,
            "validation_loss": 1.0 if s % 97 == 0 else None,
        }
        for s in range(1, 5000)
    )
    drawn = Figures(points).thin().points
    assert len(drawn) < 2 * MOST_POINTS
    assert sum(p["validation_loss"] is not None for p in drawn) == 4999 // 97


def test_a_request_that_fails_leaves_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small_project(tmp_path, rows=60)
    workspace, copies = Workspace(made.root), made.root / ".assay" / "begun"
    (made.root / "docs").mkdir()
    (made.root / "docs" / "pets.md").write_text("# Pets\n\nDogs travel in the hold.")
    with (made.root / "assay.yaml").open("a") as settings:
        settings.write("knowledge:\n  paths: [docs]\n")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StoreError, match="the disk is full"):
        jobs.compare(workspace)
    assert list(copies.iterdir()) == []
