"""Trainings that differ in their seed: how many there are, and which of them takes part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import context_of

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context
from assay.candidates.registry import build
from assay.candidates.shared import tuning
from assay.evaluate.measure import Bench, Measurement
from assay.generate.batch import Answer
from assay.train.session import TrainResult

RIGHT = {0: 6, 1: 9, 2: 9, 3: 2}
"""Validation rows of ten that the version of a seed has right."""


def built(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 60.0, **fine_tune: Any
) -> Candidate:
    """`fine-tune` with trainings that take so long and versions that are named by their seed."""

    def train(context: Context, asked: Context | None = None) -> tuple[str, TrainResult]:
        result = TrainResult(
            adapter=folder, points=(), best_step=1, best_validation_loss=1.0, steps=1,
            seconds=seconds, trained_tokens=1, tokens=1, tokens_per_s=1.0, peak_bytes=1,
            compute="float32", threads=1, activation_checkpointing=False,
        )  # fmt: skip
        return str(context.config.fine_tune.seed), result

    def measure(_: Bench, agent: Agent, *__: object, **___: object) -> Measurement:
        right = RIGHT[int(agent.model.removeprefix("version:"))]
        scores = [1.0] * right + [0.0] * (10 - right)
        answers = [Answer("x")] * 10
        return Measurement(answers, {"exact": scores}, {"exact": [True] * 10}, [True] * 10, "exact")

    monkeypatch.setattr(tuning, "train_version", train)
    monkeypatch.setattr(Bench, "measure", measure)
    monkeypatch.setattr("assay.candidates.registry.is_made_of_many_rows", lambda *_: True)
    return build("fine-tune", context_of(folder, fine_tune))


def test_the_seed_that_is_best_on_validation_takes_part_and_all_are_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = built(tmp_path, monkeypatch)
    assert made.agent.model == "version:1"  # a tie goes to the first
    assert [(one.seed, one.score, one.chosen) for one in made.seeds] == [
        (0, 0.6, False),
        (1, 0.9, True),
        (2, 0.9, False),
    ]
    assert made.seed_spread is not None
    assert 0.1 < made.seed_spread < 0.3 / 3**0.5, "less than of the scores: 6, 9 and 9 of 10"
    assert sum(made.scores) == 9
    assert made.setup_seconds == 180
    assert made.warnings == ()


def test_one_seed_where_more_would_take_too_long_which_is_said_or_as_many_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = built(tmp_path, monkeypatch, seconds=301)
    assert [one.seed for one in long.seeds] == [0]
    assert long.seed_spread is None
    assert "2 more would take about 11 minutes, but" in long.warnings[0], "not the 10 it may take"
    assert len(built(tmp_path, monkeypatch, seconds=300).seeds) == 3
    allowed = built(tmp_path, monkeypatch, seconds=301, seeds_minutes=11)
    assert len(allowed.seeds) == 3
    asked = built(tmp_path, monkeypatch, seconds=9999, seeds=2, seed=2)
    assert [one.seed for one in asked.seeds] == [2, 3]
    assert asked.warnings == ()
