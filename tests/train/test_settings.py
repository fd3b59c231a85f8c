"""What somebody sets who knows what they want: targets, schedule, and who is told of each step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file
from tests.train.test_session import run
from tests.train.tiny import SETTINGS, rows, tiny_loaded

from assay.config import FineTune
from assay.errors import ModelError
from assay.train import adapters
from assay.train.estimate import training_bytes
from assay.train.job import StepReport
from assay.train.loop import learning_rate
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
