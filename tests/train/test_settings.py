"""What somebody sets who knows what they want: targets, schedule, and who is told of each step."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file
from tests.train.test_session import Watcher, run
from tests.train.tiny import SETTINGS, rows, tiny_loaded

from assay.config import FineTune, FineTuneSection
from assay.errors import ModelError
from assay.train import adapters
from assay.train.estimate import training_bytes
from assay.train.job import StepReport
from assay.train.schedule import learning_rate
from assay.train.sequences import alone


def _settings(**changes: Any) -> FineTune:
    return FineTune.model_validate(SETTINGS.model_dump() | changes)


@pytest.mark.parametrize("adapter", ["lora", "dora"])
def test_only_the_named_maps_get_an_adapter(tmp_path: Path, adapter: str) -> None:
    settings = _settings(adapter=adapter, target_modules=["q_proj", "mlp.down_proj"])
    result = run(tmp_path, settings=settings)
    names = {name.split(".lora_")[0] for name in load_file(result.adapter / adapters.WEIGHTS)}
    assert {name.rpartition(".")[2] for name in names} == {"q_proj", "down_proj"}
    assert len(names) == 2 * 2
    fewer = _settings(adapter=adapter, target_modules=["gate_proj", "up_proj", "down_proj"])
    model, units = tiny_loaded().model, alone(rows(10))
    whole = _settings(adapter=adapter)
    assert training_bytes(model, units, fewer) < training_bytes(model, units, whole)


@pytest.mark.parametrize("name", ["lm_head", "embed_tokens", "query"])
def test_a_map_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=rf"no linear map '{name}'.*down_proj, gate_proj, k_proj"):
        run(tmp_path, settings=_settings(target_modules=["q_proj", name]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target_modules": []}, "must be all-linear, or a list"),
        ({"target_modules": "q_proj"}, "must be all-linear, or a list"),
        ({"target_modules": ["q_proj"], "adapter": "full"}, "leave target_modules out"),
        ({"optimizer": "sgd", "betas": [0.9, 0.95]}, "betas has no effect with optimizer: sgd"),
        ({"momentum": 0.5}, "momentum has no effect with optimizer: adamw"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        _settings(**changes)


def test_the_schedule_says_how_the_rate_falls() -> None:
    def rates(schedule: str) -> list[float]:
        settings = FineTune(learning_rate=1.0, warmup=0.1, schedule=schedule)  # type: ignore[arg-type]
        return [learning_rate(done, 100, settings) for done in range(100)]

    cosine, linear, constant = map(rates, ("cosine", "linear", "constant"))
    assert (
        cosine[:10] == linear[:10] == constant[:10] == pytest.approx([n / 11 for n in range(1, 11)])
    )
    assert linear[10:] == pytest.approx([1 - n / 90 for n in range(90)])
    assert set(constant[10:]) == {1.0}
    assert cosine[55] == pytest.approx(0.5)


def test_every_step_and_evaluation_is_told(tmp_path: Path) -> None:
    told: list[StepReport] = []
    result = run(tmp_path, on_step=told.append)
    steps, checks = (
        [one for one in told if one.validation is is_check] for is_check in (False, True)
    )
    assert [one.step for one in steps] == list(range(1, result.steps + 1))
    assert [one.loss for one in checks] == [
        point.validation_loss for point in result.points if point.validation_loss is not None
    ]
    first = steps[0]
    assert first.learning_rate == learning_rate(0, result.steps, SETTINGS)
    assert first.gradient_norm is not None
    assert first.gradient_norm > 0
    line = first.describe()
    assert line.startswith(
        f"step 1 of {result.steps}, epoch 0.33, loss {first.loss:.4f}, accuracy "
    )
    assert (
        f"learning rate {first.learning_rate:.2e}, gradient norm {first.gradient_norm:.3f}" in line
    )
    assert "validation loss" in checks[0].describe()
    silent = run(tmp_path / "silent")
    assert (silent.adapter / adapters.WEIGHTS).read_bytes() == (
        result.adapter / adapters.WEIGHTS
    ).read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"betas": [0.8, 0.95], "epsilon": 1e-6},
        {"optimizer": "sgd", "learning_rate": 0.3, "momentum": 0.8},
        {"optimizer": "adafactor", "learning_rate": 0.3},
    ],
)
def test_every_optimizer_learns_and_goes_on_to_the_same_bits(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    def stop(_: float) -> None:
        if len([i for i in watcher.info if "loss" in i]) == 4:
            raise KeyboardInterrupt

    settings = _settings(epochs=6, patience=6, schedule="constant", **changes)
    told: list[StepReport] = []
    whole = run(tmp_path / "whole", settings=settings, on_step=told.append)
    rates = [one.learning_rate for one in told if not one.validation]
    capped = settings.optimizer == "adafactor"
    first = round(settings.warmup * whole.steps)
    assert rates[first:] == [
        min(settings.learning_rate, n**-0.5) if capped else settings.learning_rate
        for n in range(first + 1, whole.steps + 1)
    ]
    losses = [p.validation_loss for p in whole.points if p.validation_loss is not None]
    assert losses[-1] < losses[0]
    watcher = Watcher(stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", settings=settings, progress=watcher)
    cut = run(tmp_path / "cut", settings=settings)
    bits = [(one.adapter / adapters.WEIGHTS).read_bytes() for one in (whole, cut)]
    assert bits[0] == bits[1]
    plain = run(tmp_path / "plain", settings=_settings(epochs=6, patience=6, schedule="constant"))
    assert (plain.adapter / adapters.WEIGHTS).read_bytes() != bits[0]


def test_scoring_takes_no_time_of_the_training_and_is_left_on_ctrl_c(tmp_path: Path) -> None:
    def slow(model: Any, between: Any) -> float:
        time.sleep(1.0)
        return 0.5

    def stopped(model: Any, between: Any) -> float:
        time.sleep(2.0)
        os.kill(os.getpid(), signal.SIGINT)
        between()
        pytest.fail("it went on")

    began = time.monotonic()
    scored = run(tmp_path / "scored", score=slow)
    assert scored.seconds <= time.monotonic() - began - SETTINGS.epochs * 1.0
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", score=stopped)
    cut = run(tmp_path / "cut", score=slow)
    assert cut.points == scored.points
    assert cut.seconds < scored.seconds + 1.0


def test_a_rule_for_one_optimizer_is_not_taken_for_another() -> None:
    with pytest.raises(ValidationError, match="auto is a rule for adamw"):
        FineTuneSection(optimizer="adafactor")
