"""From examples to an adapter: how they become units, what is refused, and that it works."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from tests.generate.tiny import byte_tokenizer
from tests.train.test_session import Watcher, run
from tests.train.tiny import EOS, VOCABULARY, tiny_loaded

from assay.chat.template import Template
from assay.config import FineTune
from assay.errors import DataError
from assay.example import Example, Message
from assay.models.load import LoadedModel
from assay.train import adapters, loop
from assay.train.job import TrainingJob
from assay.train.sequences import TrainingSequence
from assay.train.session import TrainResult, train_by_method
from assay.train.step import sequence_logps
from assay.train.units import Pair, Thumb, pairs, thumbs, units_of

SETTINGS = FineTune(
    method="dpo", rank=4, alpha=8, learning_rate=5e-3, epochs=3, rows_per_step=4, max_tokens=64
)
EXAMPLE = Example(
    "row-7",
    (
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "Two?"),
        Message("assistant", "Two."),
    ),
    rejected=(Message("assistant", "Three."),),
    weight=2.0,
)


def _text(ids: list[int]) -> str:
    return str(byte_tokenizer().decode(ids))


def _trained(row: TrainingSequence) -> str:
    return _text([i for i, t in zip(row.ids, row.trained, strict=True) if t])


def test_a_pair_trains_both_last_answers_after_one_prompt() -> None:
    template = Template.of(byte_tokenizer())
    (pair,) = pairs([EXAMPLE], template, "Count.")
    chosen, rejected = pair.rows
    assert (_trained(chosen), _trained(rejected)) == ("Two.<|im_end|>", "Three.<|im_end|>")
    start = chosen.trained.index(True)
    assert chosen.ids[:start] == rejected.ids[:start]
    asked = EXAMPLE.with_system("Count.").prompt
    assert chosen.ids[:start] == template.prompt(asked)
    assert not any(rejected.trained[:start])
    assert {(row.name, row.weight) for row in pair.rows} == {("row-7", 2.0)}


def test_a_thumb_trains_the_answer_and_a_pair_is_two_of_them() -> None:
    template = Template.of(byte_tokenizer())
    down = Example.of("Two?", "Four.", desirable=False)
    made = thumbs([EXAMPLE, down], template, "")
    assert [(t.desirable, _trained(t.rows[0])) for t in made] == [
        (True, "Two.<|im_end|>"),
        (False, "Three.<|im_end|>"),
        (False, "Four.<|im_end|>"),
    ]


def test_supervised_training_learns_the_answers_that_were_not_disliked() -> None:
    template = Template.of(byte_tokenizer())
    down = Example.of("Two?", "Four.", desirable=False)
    up = Example.of("Two?", "2.", desirable=True)
    (pair, thumb) = units_of("answers", [EXAMPLE, down, up], template, "")
    assert _trained(pair.rows[0]) == "Hello<|im_end|>Two.<|im_end|>"
    assert _trained(thumb.rows[0]) == "2.<|im_end|>"
    assert units_of("pairs", [EXAMPLE], template, "x") == pairs([EXAMPLE], template, "x")
    assert units_of("thumbs", [down], template, "x") == thumbs([down], template, "x")


def test_examples_without_a_judgement_are_named() -> None:
    template = Template.of(byte_tokenizer())
    bare = Example.of("Two?", "Two.", id="row-3")
    with pytest.raises(DataError, match=r"row-3.*no rejected answer"):
        pairs([EXAMPLE, bare], template, "")
    with pytest.raises(DataError, match=r"row-3.*neither a thumb"):
        thumbs([EXAMPLE, bare], template, "")
    same = replace(EXAMPLE, rejected=(EXAMPLE.target,))
    with pytest.raises(DataError, match=r"row-7.*the same"):
        pairs([same], template, "")


def _judged(count: int, seed: int = 0) -> list[Pair]:
    """Pairs with a rule to learn: 7 and the end are liked, 9 and the end are not."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        prompt = generator.integers(10, VOCABULARY, generator.integers(4, 12)).tolist()
        mask = [False] * len(prompt) + [True] * 2
        rows = (
            TrainingSequence([*prompt, 7, EOS], mask),
            TrainingSequence([*prompt, 9, EOS], mask),
        )
        made.append(Pair(rows))
    return made


def _as_thumbs(units: list[Pair]) -> list[Thumb]:
    """Each answer with its thumb."""
    return [
        Thumb((row,), desirable=liked)
        for unit in units
        for row, liked in zip(unit.rows, (True, False), strict=True)
    ]


def _run(folder: Path, by: str = "dpo", **changes: Any) -> TrainResult:
    train, validation = _judged(12), _judged(4, seed=1)
    units: dict[str, Any] = {"train": train, "validation": validation}
    if by == "kto":
        units = {"train": _as_thumbs(train), "validation": _as_thumbs(validation)}
    arguments: dict[str, Any] = {
        "loaded": tiny_loaded(),
        **units,
        "settings": SETTINGS.model_copy(update={"method": by}),
        "folder": folder,
        "compute": "float32",
        "checkpoint_seconds": 60.0,
    }
    return train_by_method(TrainingJob(**{**arguments, **changes}))


def _margins(loaded: LoadedModel, adapter: Path | None, units: list[Pair]) -> np.ndarray[Any, Any]:
    """log π(chosen) − log π(rejected) of each pair."""
    rows = [row for unit in units for row in unit.rows]
    model = loaded.model
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    logps = sequence_logps(model, rows).numpy()
    return np.asarray(logps[::2] - logps[1::2])


@pytest.mark.parametrize("method", ["dpo", "ipo", "kto", "orpo"])
def test_the_margin_of_the_chosen_answer_grows(tmp_path: Path, method: str) -> None:
    """On pairs that were not trained on, by more than a nat."""
    train, unseen = _judged(40), _judged(16, seed=1)
    units: list[Any] = [train, unseen]
    if method == "kto":
        units = [_as_thumbs(train), _as_thumbs(unseen)]
    settings = SETTINGS.model_copy(
        update={"method": method, "epochs": 6, "learning_rate": 1e-2, "patience": 6}
    )
    result = _run(tmp_path, train=units[0], validation=units[1], settings=settings)
    losses = [p.validation_loss for p in result.points if p.validation_loss is not None]
    assert result.best_validation_loss < losses[0]
    before, after = (_margins(tiny_loaded(), a, unseen) for a in (None, result.adapter))
    assert after.mean() > before.mean() + 1
    assert (after > before).mean() > 0.8


def test_the_first_loss_is_that_of_an_untouched_model(tmp_path: Path) -> None:
    """All log-ratios are 0 before the first step: log 2 (dpo), (1/2β)² (ipo), 1/2 (kto)."""
    for method, expected in {"dpo": np.log(2), "ipo": 25.0, "kto": 0.5}.items():
        result = _run(tmp_path / method, method)
        assert result.points[0].train_loss == pytest.approx(expected, rel=1e-4)


def test_the_account_counts_both_answers(tmp_path: Path) -> None:
    result = _run(tmp_path)
    assert result.steps == 3 * 3
    assert result.trained_tokens == 3 * 12 * 2 * 2
    rows = [row for unit in _judged(12) for row in unit.rows]
    assert result.tokens == 3 * sum(len(row.ids) for row in rows)


def test_the_thumbs_are_part_of_what_a_run_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _run(tmp_path, "kto")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "step", lambda *_, **__: pytest.fail("it trained again"))
        assert _run(tmp_path, "kto") == first
    turned = [Thumb(u.rows, desirable=not u.desirable) for u in _as_thumbs(_judged(12))]
    weights = (first.adapter / adapters.WEIGHTS).read_bytes()
    again = _run(tmp_path, "kto", train=turned)
    assert (again.adapter / adapters.WEIGHTS).read_bytes() != weights


def test_a_stopped_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    def stop_at(step: int) -> Any:
        def after(_: float) -> None:
            if len([i for i in watcher.info if "loss" in i]) == step:
                raise KeyboardInterrupt

        return after

    whole = _run(tmp_path / "whole", "kto")
    watcher = Watcher(stop_at(5))
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "cut", "kto", progress=watcher, checkpoint_seconds=0.0)
    cut = _run(tmp_path / "cut", "kto")
    assert (cut.adapter / adapters.WEIGHTS).read_bytes() == (
        whole.adapter / adapters.WEIGHTS
    ).read_bytes()
    assert cut.points == whole.points


def test_kto_refuses_thumbs_that_are_all_alike(tmp_path: Path) -> None:
    up = [thumb for thumb in _as_thumbs(_judged(6)) if thumb.desirable]
    with pytest.raises(DataError, match="every training row has a thumb up"):
        _run(tmp_path, "kto", train=up)
    _run(tmp_path, "kto", validation=up)


def test_of_two_trainings_with_one_folder_the_second_waits_and_finds_what_is_made(
    tmp_path: Path,
) -> None:
    """Else the first to end removes the checkpoints of the other."""
    second, found = Watcher(), []

    def other() -> None:
        found.append(run(tmp_path, progress=second))

    thread = Thread(target=other)

    def begin(done: float) -> None:
        if done == 2:
            thread.start()
            end = time.monotonic() + 120
            while not second.lines and time.monotonic() < end:
                time.sleep(0.01)

    first = run(tmp_path, progress=Watcher(begin))
    thread.join(60)
    assert second.lines == ["Another process is running this training; waiting for it to finish."]
    assert not second.info  # no step was taken twice
    assert found[0].best_step == first.best_step
    assert found[0].best_validation_loss == first.best_validation_loss
