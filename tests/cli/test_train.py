"""`assay train` as scripts see it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.command import run, sentence
from tests.preloaded import Preloaded
from tests.small import small_project

from assay.cli import main
from assay.config import Place
from assay.errors import UsageError
from assay.project.project import Project

STEP = r"step (\d+) of \d+, epoch ([\d.]+), (validation )?loss [\d.]+"
"""A line of `--verbose`, wherever it breaks."""


@pytest.fixture
def pets(tmp_path: Path) -> Project:
    edit = {"  rank: 2": "  rank: 2\n  learning_rate: 0.01", "epochs: 1": "epochs: 2"}
    return small_project(tmp_path, edit=edit)


def test_options_of_a_search_need_a_search(tmp_path: Path) -> None:
    assert "--sweep" in sentence(run("train", "--write", cwd=tmp_path), 2)
    assert "--sweep" in sentence(run("train", "--trials", "3", cwd=tmp_path), 2)
    for option in ("--verbose", "--trust-code"):
        assert option in sentence(run("train", "--sweep", option, cwd=tmp_path), 2)
    assert "no project here" in sentence(run("train", cwd=tmp_path), 1)


@pytest.mark.parametrize(
    ("place", "options", "size", "at_once"),
    [
        ("{}", [], 2, 0),
        ("{}", ["--sweep"], 1, 2),
        ("{ranks: 4}", [], 4, 0),
        ("{ranks: 4}", ["--ranks", "3"], 3, 0),
        ("{ranks: 4}", ["--sweep", "--workers", "3"], 1, 3),
        ("{on: ray, workers: 4}", [], 1, 4),
    ],
)
def test_on_ray_it_trains_as_place_says_where_the_options_do_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    options: list[str],
    size: int,
    at_once: int,
) -> None:
    made = small_project(tmp_path, edit={"fine_tune:": f"place: {place}\nfine_tune:"})
    seen: list[Place] = []

    def note(opened: Project, *_: Any, **__: Any) -> None:
        seen.append(opened.config.place)
        raise UsageError("seen.")

    monkeypatch.setattr(Project, "train", note)
    monkeypatch.setattr(Project, "sweep", note)
    sentence(run("train", "--on", "ray", *options, cwd=made.root), 2)
    assert [(one.size, one.at_once) for one in seen] == [(size, at_once)]


def test_workers_beside_ranks_are_refused_in_assay_yaml() -> None:
    with pytest.raises(ValidationError, match="workers has no effect"):
        Place(ranks=4, workers=4)


@pytest.mark.slow
def test_train_prints_the_version_and_json_the_whole_account(pets: Project) -> None:
    done = run("train", "--verbose", cwd=pets.root)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())  # wherever the lines break
    for words in ("Version: ", "effective tokens/s", "of memory", "validation loss", "kept"):
        assert words in said
    body = json.loads(run("train", "--json", cwd=pets.root).stdout)
    assert body["version"] in done.stdout
    assert body["settings"]["epochs"] == 2
    assert [p["validation_loss"] is not None for p in body["points"]].count(True) == 2
    lines, last = re.findall(STEP, " ".join(done.stderr.split())), body["steps"]
    told = [int(step) for step, _, kind in lines if not kind]
    assert told == [*range(1, last + 1)]
    assert [float(epoch) for _, epoch, kind in lines if kind] == [1, 2]


@pytest.mark.slow
def test_ctrl_c_is_clean_and_the_same_command_goes_on(pets: Project) -> None:
    path = pets.root / "assay.yaml"
    path.write_text(path.read_text().replace("epochs: 2", "epochs: 500\n  patience: 500"))
    output, errors = pets.root / "output", pets.root / "errors"
    started = (main.run, ["assay", "train"], pets.root, output, os.environ, errors)
    process = Preloaded(*started)
    work = pets.root / ".assay" / "work"
    while process.poll() is None and not list(work.glob("fine-tune-*/checkpoints/step-*")):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, errors.read_text()
    assert output.read_text() == ""
    assert "Traceback" not in errors.read_text()
    assert "run the same command again" in errors.read_text()
    process = Preloaded(*started)
    while "Continuing after step" not in errors.read_text():
        assert process.poll() is None, errors.read_text()
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert not re.search(STEP, " ".join(errors.read_text().split())), "nobody asked for them"


@pytest.mark.slow
def test_a_search_prints_its_trials_and_the_change(pets: Project) -> None:
    done = run("train", "--sweep", "--trials", "2", cwd=pets.root)
    assert done.returncode == 0, done.stderr
    for words in ("learning rate", "best", "+++ assay.yaml", "--write"):
        assert words in done.stdout
    body = json.loads(run("train", "--sweep", "--trials", "2", "--json", cwd=pets.root).stdout)
    assert len(body["trials"]) == 2
    assert body["best"]["loss"] == min(t["loss"] for t in body["trials"])
    assert body["written"] is False
