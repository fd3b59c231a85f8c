"""Trainings, searches and curves as jobs: refused, estimated, done, paused, gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.many_rows import project
from tests.small import small_project

from assay.errors import AssayError, StateError, UsageError
from assay.jobs.service import work_on
from assay.project import agents, jobs, settings
from assay.project.jobs import curves
from assay.project.jobs import training as training_jobs
from assay.project.jobs.curves import Figures
from assay.project.jobs.training import CurveOptions, JobOptions, SweepOptions, TrainingOptions
from assay.project.workspace import Workspace


@pytest.mark.parametrize("wish", [TrainingOptions(), SweepOptions(), CurveOptions()])
def test_an_empty_folder_is_refused(tmp_path: Path, wish: JobOptions) -> None:
    with pytest.raises(UsageError, match="no assay"):
        training_jobs.start(Workspace(tmp_path), wish)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (TrainingOptions(model="/srv/other"), "not a model on this machine"),
        (TrainingOptions(effort="endless"), "no effort"),  # type: ignore[arg-type]
        (TrainingOptions(name="a name"), "not a valid agent name"),
        (SweepOptions(0), "number of settings"),
        (CurveOptions("magic"), "no candidate"),
    ],
)
def test_what_cannot_be_done_is_refused_before_it_is_queued(
    tmp_path: Path, wish: JobOptions, said: str
) -> None:
    workspace = project(tmp_path, 3)
    with pytest.raises(AssayError, match=said):
        training_jobs.start(workspace, wish)
    assert jobs.list_jobs(workspace) == []


@pytest.mark.slow
def test_a_training_a_search_and_a_curve_are_done_by_a_worker(tmp_path: Path) -> None:
    made = small_project(tmp_path, rows=220)
    workspace = Workspace(made.root)
    ways = (
        TrainingOptions(effort="quick", name="desk"),
        SweepOptions(1),
        CurveOptions("baseline-tfidf"),
    )
    for wish in ways:
        assert training_jobs.seconds(workspace, wish) > 0
    first = training_jobs.start(workspace.act_as("user:ann"), ways[0])
    with pytest.raises(StateError, match="already queued"):
        training_jobs.start(workspace, TrainingOptions())
    jobs.ask(workspace, first.id, "pause")
    jobs.ask(workspace, first.id, "resume")
    for wish in ways[1:]:
        training_jobs.start(workspace, wish)
    worker = work_on(workspace.store, training_jobs.KINDS, jobs.handlers(workspace))
    trained, swept, drawn = (worker.once() for _ in range(3))
    for job in (trained, swept, drawn):
        assert job is not None
        assert job.status == "succeeded", job.error
        assert job.result is not None
        assert str(tmp_path) not in str(job.result)
    assert trained is not None
    assert trained.result is not None
    assert trained.result["settings"]["epochs"] == 1
    assert trained.result["agent"] == "desk@1"
    assert agents.read(workspace, "desk").agent.model == trained.result["model"]
    _, figures, _ = curves.look(workspace, first.id, Figures())
    assert any(point["validation_loss"] is not None for point in figures.points)
    assert swept is not None
    assert swept.result is not None
    assert len(swept.result["trials"]) == 1
    best = {f"fine_tune.{name}": v for name, v in swept.result["best"]["settings"].items()}
    settings.change(workspace, best, "found")
    assert workspace.config is not None
    assert workspace.config.fine_tune.learning_rate == best["fine_tune.learning_rate"]
    assert drawn is not None
    assert drawn.result is not None
    assert len(drawn.result["points"]) == 5
