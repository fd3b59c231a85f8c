"""What is kept of trainings is found again by later versions of Assay.

The hashes are those from before `target_modules`, `schedule`, `optimizer` with its numbers, and
`graded_rows` came. A change that alters one of them loses kept trainings, and the next comparison
opens the holdout again: it has to be meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.train.test_methods import _run
from tests.train.test_session import run

from assay.agent.engines import BatchEngines
from assay.candidates.building import Context
from assay.candidates.shared.distill import TrainingTargets
from assay.candidates.shared.training import TrainingSetup
from assay.compare.curve import _Point
from assay.compare.planning import dump_settings
from assay.config import Config, FineTune
from assay.config.reinforcement import Reinforcement
from assay.evaluate.measure import Bench
from assay.example import Example, json_sha256
from assay.store.store import Store

ROWS = (Example.of("2 + 2", "4", id="a"), Example.of("3 + 3", "6", id="b"))
CONFIG: dict[str, Any] = {
    "name": "pets",
    "model": "m",
    "task": "label",
    "labels": ["a", "b"],
    "system_prompt": "Label it.",
    "data": {"file": "a.csv"},
    "graders": [{"name": "label-accuracy"}],
    "primary": "label-accuracy",
    "candidates": ["fine-tune"],
}
NEW = {
    "quantization": "nf4",
    "target_modules": ["q_proj"],
    "schedule": "linear",
    "optimizer": "sgd",
    "betas": (0.9, 0.95),
    "epsilon": 1e-6,
    "momentum": 0.5,
    "embeddings": "train",
    "embedding_rate": 0.5,
}


def _name(settings: FineTune) -> str:
    loaded, template = SimpleNamespace(weights_sha256="w"), SimpleNamespace(sha256="t")
    targets = TrainingTargets(ROWS, ((), ()))
    setup = TrainingSetup(
        cast(Any, loaded), cast(Any, template), "Add.", targets, (), [], [], None, settings
    )
    return setup.name(cast(Context, SimpleNamespace(validation=ROWS[1:])), settings)


def _bench(folder: Path, **fine_tune: Any) -> Bench:
    config = Config.model_validate(CONFIG | {"fine_tune": fine_tune})
    return Bench(config, folder, Store(folder / ".assay"), cast(BatchEngines, None))


def test_settings_as_before_are_known_as_before(tmp_path: Path) -> None:
    assert json_sha256(FineTune().identity()).startswith("436b5f17d3212683")
    assert _name(FineTune()) == "fine-tune-9098ee9bca50e66f"
    bench = _bench(tmp_path)
    point = _Point.of("fine-tune", ROWS[:1], 0, ROWS[1:], bench)
    assert point.file.name.startswith("eceb99cec21e34d7")
    assert json_sha256(dump_settings(bench.config)).startswith("c10eacf9d2f580ed")


def test_a_point_that_learns_a_recording_is_of_its_answers(tmp_path: Path) -> None:
    tuned, files = _bench(tmp_path, recorded="gone.jsonl"), set()
    top = _bench(tmp_path)
    top = replace(top, config=top.config.model_copy(update={"recorded": "gone.jsonl"}))
    for text in ("one\n", "one\ntwo\n"):
        (tmp_path / "gone.jsonl").write_text(text)
        for name, bench in (("fine-tune", tuned), ("distill", top), ("cascade", top)):
            files.add(_Point.of(name, ROWS[:1], 0, ROWS[1:], bench).file)
    assert len(files) == 6


@pytest.mark.parametrize(
    ("train", "training", "choices"),
    [
        (run, "22156113007f2cce", "416232a8eb4c79fb"),
        (lambda folder: _run(folder, "dpo"), "f1a58204da201398", "694d811ac37c1921"),
        (lambda folder: _run(folder, "kto"), "ebb1c49fac19d8a4", "63112e68b79408c4"),
    ],
)
def test_a_training_as_before_is_found(
    tmp_path: Path, train: Callable[[Path], Any], training: str, choices: str
) -> None:
    train(tmp_path)
    for file, key in (("training.json", training), ("choices.json", choices)):
        assert json.loads((tmp_path / file).read_text("utf-8"))["key"].startswith(key)


@pytest.mark.parametrize("name", NEW)
def test_other_settings_are_another_training(name: str) -> None:
    other = FineTune().model_copy(update={name: NEW[name]})
    assert _name(other) != _name(FineTune())
    assert name in other.identity()


def test_what_decides_no_weight_is_in_no_name(tmp_path: Path) -> None:
    watched = FineTune(graded_rows=20, tracking=["tensorboard"])
    assert watched.identity() == FineTune().identity()
    assert _name(watched) == _name(FineTune())
    rewarded = FineTune(method="reinforcement")
    limited = rewarded.model_copy(
        update={"reinforcement": Reinforcement(judge_calls=7, judge_usd=None)}
    )
    assert limited.identity() == rewarded.identity()
    short = Reinforcement(steps=3, judge_calls=7)
    other = rewarded.model_copy(update={"reinforcement": short})
    assert json_sha256(other.identity()).startswith("3af63a1a88be1604")
    assert json_sha256(rewarded.identity()).startswith("5c94e3751810fcb1")
    benches = _bench(tmp_path), _bench(tmp_path, graded_rows=20)
    first, second = (_Point.of("fine-tune", ROWS[:1], 0, ROWS[1:], bench) for bench in benches)
    assert first.file == second.file
    assert dump_settings(benches[0].config) == dump_settings(benches[1].config)
