"""How often the first choice was right: counted beside the loss, and without changing it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.train.tiny import SETTINGS, rows, tiny_loaded, tiny_model, train

from assay.train import adapters
from assay.train.counters import counting_hits
from assay.train.job import StepReport
from assay.train.sequences import alone
from assay.train.step import evaluate, step


def test_it_is_the_share_of_trained_tokens_that_are_the_largest_logit() -> None:
    model, sequences = tiny_model(), rows(12, low=3, high=20)
    right = count = 0
    for row in sequences:
        with torch.no_grad():
            chosen = model(input_ids=torch.tensor([row.ids])).logits[0].argmax(-1).tolist()
        for place in range(1, len(row.ids)):
            if row.trained[place]:
                count += 1
                right += chosen[place - 1] == row.ids[place]
    for look in (evaluate, step):
        with counting_hits() as hits:
            look(model, alone(sequences))
        assert (hits.right, hits.tokens) == (right, count)
    with counting_hits(False) as hits:
        evaluate(model, alone(sequences))
    assert (hits.right, hits.tokens) == (0, 0)


def test_a_watch_sees_every_step_and_changes_nothing(tmp_path: Path) -> None:
    seen: list[StepReport] = []

    def watch(moment: StepReport) -> None:
        seen.append(moment)
        if moment.validation:
            folder = tmp_path / f"step-{moment.step}"
            folder.mkdir()
            moment.write(folder)

    plain = train(
        tiny_loaded(), rows(10), rows(4, 1), SETTINGS, tmp_path / "plain", compute="float32"
    )
    watched = train(
        tiny_loaded(),
        rows(10),
        rows(4, 1),
        SETTINGS,
        tmp_path / "watched",
        compute="float32",
        on_step=watch,
    )
    assert [(m.step, m.validation) for m in seen] == [
        (1, False),
        (2, False),
        (3, False),
        (3, True),
        (4, False),
        (5, False),
        (6, False),
        (6, True),
    ]
    assert {m.total_steps for m in seen} == {6}
    assert all(m.accuracy is not None and 0 <= m.accuracy <= 1 for m in seen)
    assert seen[-1].loss == watched.points[-1].validation_loss
    weights = [(r.adapter / adapters.WEIGHTS).read_bytes() for r in (plain, watched)]
    assert weights[0] == weights[1]
    best = tmp_path / f"step-{watched.best_step}"
    assert (best / adapters.WEIGHTS).read_bytes() == weights[1]


def test_a_watch_that_raises_ends_the_run_before_its_checkpoint(tmp_path: Path) -> None:
    def watch(moment: StepReport) -> None:
        if moment.step == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train(
            tiny_loaded(),
            rows(10),
            rows(4, 1),
            SETTINGS,
            tmp_path,
            compute="float32",
            checkpoint_seconds=0,
            on_step=watch,
        )
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000001"]
