"""A run keeps the number format, the threads and the checkpointing that it began with."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.test_session import Watcher, _bytes, run
from tests.train.tiny import SETTINGS, rows, tiny_loaded

from assay.errors import ModelError
from assay.train import choices, estimate
from assay.train.choices import FILE, Choices, choose
from assay.train.estimate import training_bytes
from assay.train.job import TrainingJob
from assay.train.sequences import alone


@pytest.fixture(autouse=True)
def threads() -> Iterator[int]:
    """Torch's threads, put back."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def _choose(folder: Path, **changes: Any) -> Choices:
    compute = changes.pop("compute", None)
    settings = SETTINGS.model_copy(update=changes)
    return choose(
        TrainingJob(
            tiny_loaded(), alone(rows(6)), alone(rows(2, 1)), settings, folder, compute=compute
        )
    )


def _measured(monkeypatch: pytest.MonkeyPatch, *formats: str) -> list[str]:
    """Make the probe find these, one after the other; returns those that are left."""
    left = list(formats)
    monkeypatch.setattr(choices, "faster_format", lambda *_: left.pop(0))
    return left


def test_what_was_chosen_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = _measured(monkeypatch, "bfloat16", "float32")
    torch.set_num_threads(1)
    first = _choose(tmp_path)
    assert first == Choices("bfloat16", 1, False)
    torch.set_num_threads(2)
    assert _choose(tmp_path) == first
    assert left == ["float32"]


@pytest.mark.parametrize("change", [{"rank": 2}, {"seed": 9}, {"activation_checkpointing": "on"}])
def test_another_run_chooses_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    left = _measured(monkeypatch, "bfloat16", "float32")
    _choose(tmp_path)
    assert _choose(tmp_path, **change).compute == "float32"
    assert left == []


def test_where_the_curve_is_written_changes_no_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = _measured(monkeypatch, "bfloat16", "float32")
    _choose(tmp_path)
    _choose(tmp_path, tracking=["tensorboard"])
    assert left == ["float32"]


def test_what_is_asked_for_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _measured(monkeypatch)
    assert _choose(tmp_path, compute="float32").compute == "float32"
    assert _choose(tmp_path, compute="bfloat16").compute == "bfloat16"


@pytest.mark.parametrize("damage", ["flipped", "cut", "edited"])
def test_damaged_choices_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    left = _measured(monkeypatch, "bfloat16", "float32")
    _choose(tmp_path)
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(
        {
            "flipped": text.replace("bfloat16", "cfloat16"),
            "cut": text[: len(text) // 2],
            "edited": json.dumps({**json.loads(text), "choices": {"compute": "float32"}}),
        }[damage]
    )
    assert _choose(tmp_path).compute == "float32"
    assert left == []


@pytest.mark.parametrize(
    ("setting", "share", "expected"),
    [
        ("auto", 1.01, False),  # fits without
        ("auto", 0.99, True),
        ("auto", 0.1, False),  # does not fit either way: the trainer says so
        ("on", 10, True),
        ("off", 0.99, False),
    ],
)
def test_activations_are_computed_twice_only_if_they_must(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    share: float,
    expected: bool,
) -> None:
    monkeypatch.setattr(estimate, "_PROCESS", 0)  # would drown so small a model
    loaded = tiny_loaded(num_hidden_layers=12)
    needed = training_bytes(loaded.model, alone(rows(6)), SETTINGS)
    monkeypatch.setattr(choices, "available_bytes", lambda model: int(share * needed))
    own = SETTINGS.model_copy(update={"activation_checkpointing": setting})
    found = choose(
        TrainingJob(loaded, alone(rows(6)), alone(rows(2)), own, tmp_path, compute="float32")
    )
    assert found.activation_checkpointing is expected


def test_a_model_that_cannot_compute_them_twice_is_refused(tmp_path: Path) -> None:
    loaded = tiny_loaded()
    loaded.model.supports_gradient_checkpointing = False
    on = SETTINGS.model_copy(update={"activation_checkpointing": "on"})
    with pytest.raises(ModelError, match="activation_checkpointing: off"):
        choose(TrainingJob(loaded, alone(rows(4)), alone(rows(2)), on, tmp_path, compute="float32"))
    with pytest.raises(ModelError, match="float16"):
        choose(
            TrainingJob(replace(loaded, dtype="float16"), alone(rows(4)), [], SETTINGS, tmp_path)
        )


def test_a_training_goes_on_with_its_threads_and_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Stopped on one thread in bfloat16, gone on where two and float32 would be chosen."""
    seen: list[int] = []
    _measured(monkeypatch, "bfloat16", "bfloat16", "float32")
    torch.set_num_threads(1)
    on = SETTINGS.model_copy(update={"activation_checkpointing": "on"})
    whole = run(tmp_path / "whole", settings=on, compute=None)

    def stop(done: float) -> None:
        seen.append(torch.get_num_threads())
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", settings=on, compute=None, progress=Watcher(stop))
    torch.set_num_threads(2)
    watcher = Watcher(lambda done: seen.append(torch.get_num_threads()))
    result = run(tmp_path / "a", settings=on, compute=None, progress=watcher)
    assert watcher.lines == ["Continuing after step 2 of 6."]
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
    assert (result.compute, result.threads, result.activation_checkpointing) == (
        "bfloat16",
        1,
        True,
    )
    assert _bytes(result) == _bytes(whole)
