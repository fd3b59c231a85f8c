"""The cache of reference log-probabilities: kept, checked, and gone on with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.test_session import Watcher
from tests.train.tiny import rows, tiny_loaded

from assay.config import FineTune
from assay.errors import ModelError
from assay.train import reference
from assay.train.job import TrainingJob
from assay.train.reference import FILE, reference_logps
from assay.train.step import sequence_logps

ROWS = rows(7)


class Counted:
    """Counts the rows that go through the model."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = 0
        monkeypatch.setattr(reference, "sequence_logps", self)

    def __call__(self, model: Any, sequences: Any, tokens: int) -> Any:
        self.rows += len(sequences)
        return sequence_logps(model, sequences, tokens)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def _get(folder: Path, **changes: Any) -> list[float]:
    rows, compute = changes.pop("rows", ROWS), changes.pop("compute", "float32")
    settings = FineTune(tokens_per_pass=changes.pop("tokens", 4096))
    arguments: dict[str, Any] = {"loaded": tiny_loaded(), "progress": Watcher()} | changes
    job = TrainingJob(train=[], validation=[], settings=settings, folder=folder, **arguments)
    return reference_logps(job, rows, compute)[0]


def test_they_are_the_base_models_and_computed_once(tmp_path: Path, counted: Counted) -> None:
    first = _get(tmp_path)
    assert first == pytest.approx(sequence_logps(tiny_loaded().model, ROWS).tolist())
    assert _get(tmp_path) == first
    assert counted.rows == 7
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_base_in_bfloat16_gives_those_of_its_float32_copy(tmp_path: Path) -> None:
    """As training does, whose first step would have moved otherwise."""
    found = []
    for name in ("bfloat16", "float32"):
        loaded = replace(tiny_loaded(), dtype=name)
        loaded.model.bfloat16().to(getattr(torch, name))
        found.append(_get(tmp_path / name, loaded=loaded, compute="bfloat16"))
        assert {p.dtype for p in loaded.model.parameters()} == {getattr(torch, name)}
    assert found[0] == found[1]


@pytest.mark.parametrize("what", ["base", "rows", "compute", "tokens"])
def test_they_belong_to_base_rows_and_number_format(
    tmp_path: Path, counted: Counted, what: str
) -> None:
    _get(tmp_path)
    changes: dict[str, dict[str, Any]] = {
        "base": {"loaded": replace(tiny_loaded(), weights_sha256="other")},
        "rows": {"rows": ROWS[::-1]},
        "compute": {"compute": "bfloat16"},
        "tokens": {"tokens": 64},
    }
    watcher = Watcher()
    _get(tmp_path, progress=watcher, **changes[what])
    assert counted.rows == 14
    assert watcher.lines == []


@pytest.mark.parametrize("damage", ["number", "cut", "empty", "list", "no digest"])
def test_a_damaged_file_is_named_and_computed_again(
    tmp_path: Path, counted: Counted, damage: str
) -> None:
    first = _get(tmp_path)
    path = tmp_path / FILE
    text = path.read_text()
    raw = json.loads(text)
    if damage == "number":
        raw["logps"][3] += 0.5
    if damage == "no digest":
        del raw["sha256"]
    broken = {"cut": text[:-20], "empty": "", "list": "[]"}.get(damage, json.dumps(raw))
    path.write_text(broken)
    watcher = Watcher()
    assert _get(tmp_path, progress=watcher) == first
    assert counted.rows == 14
    assert "damaged" in watcher.lines[0]
    assert json.loads(path.read_text())["logps"] == json.loads(text)["logps"]


def test_a_killed_run_goes_on_at_its_block(
    tmp_path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "BLOCK", 2)
    whole = _get(tmp_path / "whole")

    def stop(done: float) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _get(tmp_path / "cut", progress=Watcher(stop))
    counted.rows = 0
    before = json.loads((tmp_path / "cut" / FILE).read_text())["seconds"]
    assert _get(tmp_path / "cut") == whole
    assert counted.rows == 3
    assert json.loads((tmp_path / "cut" / FILE).read_text())["seconds"] > before > 0


def test_a_model_without_finite_numbers_is_refused(tmp_path: Path) -> None:
    loaded = tiny_loaded()
    loaded.model.get_input_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="finite"):
        _get(tmp_path, loaded=loaded)
    assert not (tmp_path / FILE).exists()
