"""How often training would wait for a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.invariants.test_tree_training import grown
from tests.train.tiny import SETTINGS, tiny_loaded, tiny_model, train
from tests.waiting import waits

from assay.train import loop
from assay.train.sequences import alone
from assay.train.step import evaluate, in_passes, step

SIZES: dict[str, Any] = {"vocab_size": 256, "max_position_embeddings": 512}


def test_a_step_of_sft_waits_once_however_many_passes_it_has() -> None:
    model, units = tiny_model(**SIZES), alone(grown(3))
    for tokens in (4096, 64):
        passes = sum(len(family.passes) for family in in_passes(model, units, tokens))
        assert passes == 1 if tokens == 4096 else passes > 3
        for look in (step, evaluate):
            with waits() as found:
                look(model, units, tokens=tokens)
            assert found == ["assay.train.step._over"]


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
