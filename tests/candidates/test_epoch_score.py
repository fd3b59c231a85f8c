"""Validation rows that are graded after each epoch."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.small import small_project

from assay import project
from assay.errors import ConfigError, UsageError
from assay.models.versions import load_version
from assay.project.project import Project
from assay.train.job import StepReport

ROWS = 12


def _project(folder: Path, graded: int = ROWS, **edit: str) -> Project:
    changes = {
        "epochs: 1": f"epochs: 3\n  learning_rate: 0.03\n  graded_rows: {graded}",
        "  rank: 2": "  rank: 8",
        **edit,
    }
    return small_project(folder, edit=changes)


@pytest.mark.slow
def test_the_score_is_that_of_the_version_and_changes_no_weight(tmp_path: Path) -> None:
    told: list[StepReport] = []
    made = _project(tmp_path / "graded")
    trained = made.train(on_step=told.append)
    scores = [point.score for point in trained.result.points if point.score is not None]
    assert scores == [one.score for one in told if one.validation]
    context = made.context()
    rows = random.Random(0).sample(context.judged, ROWS)
    agent = context.chat_agent(
        model=f"version:{trained.version}", system_prompt=context.training_prompt
    )
    [best] = [p for p in trained.result.points if p.step == trained.result.best_step]
    measured = context.bench.measure(agent, rows).score
    assert best.score == measured
    assert max(scores) > 0

    plain = _project(tmp_path / "plain", graded=0)
    other = plain.train()
    assert all(point.score is None for point in other.result.points)
    weights = [
        (load_version(one.store, id).folder / "adapter_model.safetensors").read_bytes()
        for one, id in ((made, trained.version), (plain, other.version))
    ]
    assert weights[0] == weights[1]
    path = made.root / "assay.yaml"
    path.write_text(path.read_text().replace(f"graded_rows: {ROWS}", "graded_rows: 0"))
    assert project.open(made.root).train().version == trained.version


@pytest.mark.parametrize(
    ("grader", "error", "said"),
    [
        ("python\n    settings: {file: own.py}", UsageError, "--trust-code"),
        ("judge\n    settings: {model: other}", ConfigError, "asks other.*every epoch"),
    ],
)
def test_a_grader_that_runs_code_or_asks_a_model_is_refused_before_the_first_step(
    tmp_path: Path, grader: str, error: type[Exception], said: str
) -> None:
    made = _project(tmp_path)
    (made.root / "own.py").write_text("def grade(answer, example):\n    return 1.0\n")
    path = made.root / "assay.yaml"
    text = path.read_text().replace("graders:\n", f"graders:\n  - name: {grader}\n")
    name = grader.split("\n")[0]
    path.write_text(text.replace("primary: label-accuracy", f"primary: {name}"))
    opened = project.open(made.root)
    with pytest.raises(error, match=said):
        opened.train()
