"""How often training would wait for a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.test_tree_training import grown
from tests.train.tiny import SETTINGS, tiny_loaded, tiny_model, train
from tests.waiting import waits

from assay.config.reinforcement import Reinforcement
from assay.config.training import FineTune
from assay.train import loop
from assay.train.methods import registry
from assay.train.methods.kto import mismatch
from assay.train.reinforce import policy
from assay.train.sequences import Unit, alone
from assay.train.step import evaluate, in_passes, step
from assay.train.units import Pair, Thumb

SIZES: dict[str, Any] = {"vocab_size": 256, "max_position_embeddings": 512}


def units_by(method: str) -> list[Unit]:
    """What a step of a method is given."""
    rows = grown(3)
    if method == "kto":
        thumbs = [Thumb((row,), desirable=place % 3 > 0) for place, row in enumerate(rows)]
        return [replace(unit, reference=(-30.0, -30.0)) for unit in mismatch(thumbs, 512)]
    pairs = zip(rows[::2], rows[1::2], strict=False)
    return alone(rows) if method == "sft" else [Pair(pair, (-30.0, -30.0)) for pair in pairs]


@pytest.mark.parametrize("method", ["sft", "dpo", "ipo", "orpo", "kto"])
def test_a_step_waits_once_however_many_passes_it_has(method: str) -> None:
    """For its loss; what a method measures before the step stays on the device."""
    model, units = tiny_model(**SIZES), units_by(method)
    objective_of = registry.find(method).objective_of(FineTune(method=method), units)
    for tokens in (4096, 64):
        passes = sum(len(family.passes) for family in in_passes(model, units, tokens))
        assert passes == 1 if tokens == 4096 else passes > 3
        for look in (step, evaluate):
            with waits() as found:
                objective = objective_of(model, units) if objective_of else None
                look(model, units, objective, tokens=tokens)
            assert found == ["assay.train.step._over"]


def test_an_update_by_graders_waits_once() -> None:
    """What the answers were drawn with, and their reference, stay on the device between updates."""
    model, settings = tiny_model(**SIZES), Reinforcement(beta=0.1)
    answers = [policy.DrawnAnswer((row,), advantage=0.5) for row in grown(3)]
    objective = policy.objective(settings)
    rows = [answer.rows[0] for answer in answers]
    with waits() as found:
        known = policy.token_logps(model, rows, 64, settings.temperature)
        for answer, logps in zip(answers, known, strict=True):
            answer.logps.reference = logps
        for _ in range(2):
            step(model, answers, objective, tokens=64)
        drawn: list[Any] = [answer.logps.drawn for answer in answers]
        policy.divergence(drawn, known)
    over = "assay.train.step._over"
    assert found == [over, over, "assay.train.reinforce.policy.divergence"]


def test_an_update_of_the_weights_waits_for_its_three_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, first choices and the gradient's norm; the last two are there when the loss is."""
    plain, noted = loop.Run.step, []

    def counted(run: loop.Run, bar: Any) -> None:
        with waits() as found:
            plain(run, bar)
        noted.append(found)

    monkeypatch.setattr(loop.Run, "step", counted)
    loaded = tiny_loaded(**SIZES)
    settings = SETTINGS.model_copy(update={"tokens_per_pass": 64, "rows_per_step": 8, "epochs": 1})
    watch = {"compute": "float32", "on_step": lambda report: None}
    train(loaded, grown(3), grown(4)[:2], settings, tmp_path, **watch)
    three = ["train.step._over", "train.counters.right", "train.loop.descend"]
    assert noted == [[f"assay.{place}" for place in three]] * len(noted)
    assert noted
