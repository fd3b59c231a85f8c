"""What goes through the model, counted while it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.train.test_session import Watcher
from tests.train.tiny import EOS, SETTINGS, rows, tiny_loaded, tiny_model, train

from assay.train.checkpoints import Point
from assay.train.counters import Throughput, counting
from assay.train.sequences import TrainingSequence, alone
from assay.train.step import step


def test_a_shared_prefix_is_counted_once() -> None:
    prefix = list(range(3, 43))
    sequences = [TrainingSequence([*prefix, t, EOS], [False] * 41 + [True]) for t in (50, 51, 52)]
    model = tiny_model()
    with counting(model) as count:
        step(model, alone(sequences))
    assert count.computed == 40 + 3  # the prefix, and the token before each answer
    hooks = model.get_input_embeddings()._forward_hooks
    assert not hooks


def test_rates() -> None:
    whole = Throughput(tokens=100, computed=25, seconds=2.0)
    assert (whole.tokens_per_s, whole.effective_tokens_per_s, whole.saved) == (12.5, 50.0, 0.75)
    whole.add(Throughput(tokens=100, computed=75, seconds=2.0))
    assert (whole.tokens_per_s, whole.effective_tokens_per_s, whole.saved) == (25.0, 50.0, 0.5)
    nothing = Throughput()
    assert (nothing.tokens_per_s, nothing.effective_tokens_per_s, nothing.saved) == (0, 0, 0)


def test_every_point_is_told_with_its_rates_and_again_with_its_validation_loss(
    tmp_path: Path,
) -> None:
    told: list[tuple[int, float | None, dict[str, float]]] = []

    def observe(point: Point, rates: Any) -> None:
        told.append((point.step, point.validation_loss, dict(rates)))

    watcher = Watcher()
    train(
        tiny_loaded(),
        rows(10),
        rows(4, seed=1),
        SETTINGS,
        tmp_path,
        progress=watcher,
        compute="float32",
        on_point=observe,
    )
    assert [step for step, _, _ in told] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert [bool(rates) for _, _, rates in told] == [True] * 3 + [False] + [True] * 3 + [False]
    assert [loss is not None for _, loss, _ in told] == [not rates for _, _, rates in told]
    rates = told[0][2]
    assert rates["learning_rate"] == pytest.approx(SETTINGS.learning_rate, rel=0.1)
    assert rates["effective_tokens_per_s"] > 0
    assert rates["memory_bytes"] > 50 * 2**20
    shown = {name for info in watcher.info for name in info}
    assert {"loss", "validation_loss", "tokens_per_s", "effective_tokens_per_s"} <= shown
    assert {"sharing_saved", "memory"} <= shown
