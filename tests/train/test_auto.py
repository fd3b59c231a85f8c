"""The rule for settings that are left to Assay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.small import small_project

from assay.config import FineTune, FineTuneSection
from assay.errors import ConfigError
from assay.project import open as open_project
from assay.train import auto
from assay.train.methods import registry

SIZES = st.floats(1e4, 1e12)
ROWS = st.integers(1, 10_000_000)


@pytest.mark.parametrize("rows", [320, 770, 2000])
@pytest.mark.parametrize("parameters", [134.5e6, 135e6])
def test_the_starter_model_keeps_the_numbers_that_were_measured(
    parameters: float, rows: int
) -> None:
    found = auto.choose(FineTuneSection(), parameters=parameters, rows=rows)
    assert (found.learning_rate, found.rank, found.epochs, found.rows_per_step) == (1e-3, 16, 4, 8)
    assert found == FineTune()


@pytest.mark.parametrize(
    ("parameters", "published"),
    [(7e9, 2e-4), (13e9, 2e-4), (33e9, 1e-4), (65e9, 1e-4), (1.24e9, 4.9e-4), (8e9, 2.9e-4)],
)
def test_the_learning_rate_is_near_what_is_published(parameters: float, published: float) -> None:
    assert 0.6 <= auto.learning_rate(parameters) / published <= 1.25


@given(SIZES, SIZES)
def test_a_larger_model_never_gets_a_higher_rate(one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert 0 < auto.learning_rate(large) <= auto.learning_rate(small) <= 1e-3


@given(ROWS, ROWS)
def test_more_rows_mean_fewer_epochs_larger_steps_and_no_smaller_rank(a: int, b: int) -> None:
    few, many = sorted((a, b))
    assert auto.epochs(few) >= auto.epochs(many) >= 1
    assert auto.rows_per_step(few) <= auto.rows_per_step(many)
    assert 16 <= auto.rank(few) <= auto.rank(many) <= 128
    assert auto.epochs(few) * few <= max(4 * 2_000, 3 * few)


@pytest.mark.parametrize(
    ("rows", "stated", "short"),
    [
        (160, {}, True),  # 5 epochs of 20 steps
        (600, {}, False),  # 4 of 75
        (400, {"epochs": 2}, True),
        (600, {"epochs": 2}, True),  # 150 steps
        (601, {"epochs": 2}, False),  # 152
        (600, {"rows_per_step": 32}, True),
        (160, {"rows_per_step": 1}, False),
        (160, {"adapter": "full"}, False),
        (160, {"adapter": "dora"}, True),
        (160, {"method": "dpo"}, False),
    ],
)
def test_a_short_training_takes_twice_the_rate(
    rows: int, stated: dict[str, Any], short: bool
) -> None:
    section = FineTuneSection.model_validate(stated)
    found = auto.choose(section, parameters=135e6, rows=rows)
    usual = auto.learning_rate(135e6, registry.find(found.method), found.adapter)
    assert found.learning_rate == usual * (2 if short else 1)


def test_rows_that_are_mixed_in_make_steps_too() -> None:
    section = FineTuneSection(epochs=2)
    alone = auto.choose(section, parameters=135e6, rows=400)
    mixed = auto.choose(section, parameters=135e6, rows=400, units=800)
    assert alone.learning_rate == 2 * mixed.learning_rate
    assert (alone.epochs, alone.rows_per_step) == (mixed.epochs, mixed.rows_per_step)


def test_preferences_and_full_training_take_smaller_rates() -> None:
    lora = auto.learning_rate(135e6)
    assert auto.learning_rate(135e6, adapter="full") == lora / 10
    assert auto.learning_rate(135e6, method=registry.find("dpo")) == lora / 20
    assert auto.learning_rate(135e6, method=registry.find("orpo")) == lora / 4


def test_what_is_stated_stays() -> None:
    section = FineTuneSection(rank=4, learning_rate=0.5, max_tokens=64, method="dpo", seed=3)
    found = auto.choose(section, parameters=7e9, rows=50)
    assert (found.rank, found.learning_rate, found.max_tokens) == (4, 0.5, 64)
    assert (found.method, found.seed) == ("dpo", 3)
    assert (found.epochs, found.rows_per_step) == (12, 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rank: 0", "fine_tune.rank: it should be at least 1, or auto"),
        ("rank: much", "fine_tune.rank: it should be a whole number"),
        ("learning_rate: 0", "fine_tune.learning_rate: it should be more than 0, or auto"),
    ],
)
def test_a_wrong_setting_is_one_problem_with_its_line(
    tmp_path: Path, line: str, message: str
) -> None:
    project = small_project(tmp_path)
    path = project.root / "assay.yaml"
    path.write_text(path.read_text().replace("rank: 2", line).replace("  epochs: 1\n", ""))
    if "rank" not in line:
        path.write_text(path.read_text().replace("rank: 2\n", ""))
    with pytest.raises(ConfigError, match=message) as caught:
        open_project(project.root)
    assert "line" in str(caught.value)
    assert "problems" not in str(caught.value)


def test_rslora_is_given_less_by_as_much_as_its_update_is_larger() -> None:
    for stated in ("auto", 64):
        section = FineTuneSection.model_validate({"adapter": "rslora", "rank": stated})
        found = auto.choose(section, parameters=135e6, rows=500)
        assert found.learning_rate == pytest.approx(1e-3 / found.rank**0.5, rel=0.05)
