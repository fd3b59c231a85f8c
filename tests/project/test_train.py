"""Training alone, as the facade offers it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.small import small_project
from tests.train.test_session import Watcher

from assay import project
from assay.candidates.building import Context
from assay.candidates.shared import training
from assay.models.versions import load_version
from assay.project import versions
from assay.project.project import Project
from assay.release.model_card import model_card
from assay.train import loop

pytestmark = pytest.mark.slow

EDIT = {"epochs: 1": "epochs: 2", "  rank: 2": "  rank: 2\n  learning_rate: 0.001  # low"}


@pytest.fixture
def pets(tmp_path: Path) -> Project:
    return small_project(tmp_path, edit=EDIT)


def context(opened: Project) -> Context:
    return opened.context(Watcher())


def never(*_: object, **__: object) -> Any:
    pytest.fail("it trained again")


def test_what_train_has_made_compare_finds_done(
    pets: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = pets.train()
    assert trained.folder.is_dir()
    assert trained.settings["epochs"] == 2
    assert trained.settings["rows_per_step"] == 4  # what the file leaves open is decided
    losses = [p.validation_loss for p in trained.result.points if p.validation_loss is not None]
    assert len(losses) == 2
    assert trained.forgetting.instructions.items > 0
    body = trained.to_dict()
    assert {"version", "settings", "points", "peak_bytes", "tokens_per_s"} <= body.keys()
    monkeypatch.setattr(loop, "step", never)
    version, result = training.train_version(context(pets))
    assert (version, result) == (trained.version, trained.result)


def test_it_is_stopped_and_goes_on(pets: Project) -> None:
    def stop(_done: float) -> None:
        if sum("loss" in info for info in stopping.info) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    stopping = Watcher(stop)
    with pytest.raises(KeyboardInterrupt):
        pets.train(stopping)
    watcher = Watcher()
    trained = pets.train(watcher)
    assert any(line.startswith("Continuing after step 5 of") for line in watcher.lines)
    assert trained.result.points[-1].epoch == 2


def test_a_version_whose_training_was_stopped_says_so(pets: Project) -> None:
    stopped = pets.train(stop_when=lambda report: "enough\nnow" if report.step == 1 else None)
    said = f"after step 1 of {stopped.result.planned_steps}: enough\nnow"
    assert versions.facts(versions.version(pets.store, stopped.version))["stopped"] == said
    kept = load_version(pets.store, stopped.version)
    card = model_card(
        kept, project="pets", licence="mit", is_adapter=True, measured=None, candidate=None
    )
    assert f"- training stopped {said}".replace("\n", " ") in card.splitlines()
    whole = pets.train()
    assert stopped.result.planned_steps == whole.result.steps
    found = versions.diff(pets.store, stopped.version, whole.version)
    assert found["fields"]["stopped"] == [said, None]


def test_a_search_writes_the_best_and_its_training_is_kept(
    pets: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pets.root / "assay.yaml"
    before = path.read_text()
    found = pets.sweep(3)
    assert path.read_text() == before
    assert not found.written
    assert len(found.trials) == 3
    assert found.trials[0].settings == {
        "learning_rate": 0.001,
        "rank": 2,
        "epochs": 2,
        "rows_per_step": 4,
    }
    assert found.best.loss == min(t.loss for t in found.trials if t.state == "finished")
    assert found.best.number > 0, "pick settings whose neighbours are better"
    assert f"+  learning_rate: {found.best.settings['learning_rate']:g} # low\n" in found.diff
    changes = [line for line in found.diff.splitlines() if line.startswith("+  ")]
    assert {line[3:].partition(":")[0] for line in changes} <= set(found.best.settings)
    monkeypatch.setattr(loop, "step", never)
    written = pets.sweep(3, write=True)
    assert written.trials == found.trials
    assert written.written
    assert path.read_text() != before
    comments = [line.partition("#")[2] for line in before.splitlines() if "#" in line]
    assert [c for c in comments if c not in path.read_text()] == []
    again = project.open(pets.root)
    trained = again.train()
    assert trained.result.best_validation_loss == found.best.loss
    assert trained.settings["rank"] == found.best.settings["rank"]
    (search,) = (pets.root / ".assay" / "work").glob("sweep-*")
    assert sorted(p.name for p in search.iterdir()) == ["lock", "trials.db"]


def test_where_the_curve_is_written_changes_no_version(pets: Project) -> None:
    trained = pets.train()
    path = pets.root / "assay.yaml"
    path.write_text(path.read_text().replace("  rank: 2", "  rank: 2\n  tracking: [tensorboard]"))
    again = project.open(pets.root)
    assert again.train().version == trained.version


def test_tracking_writes_into_the_project(pets: Project) -> None:
    path = pets.root / "assay.yaml"
    path.write_text(path.read_text().replace("  rank: 2", "  rank: 2\n  tracking: [tensorboard]"))
    project.open(pets.root).train()
    (run,) = (pets.root / ".assay" / "tracking" / "tensorboard").iterdir()
    assert run.name.startswith("fine-tune-")
    assert list(run.glob("events.*"))
