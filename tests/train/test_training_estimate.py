"""Time and memory before a training starts."""

from __future__ import annotations

import pytest
import torch
from tests.train.tiny import SETTINGS, rows, tiny_loaded, tiny_model

from assay.train.adapters import adapted
from assay.train.device import readable
from assay.train.estimate import estimate, probe_speed, training_bytes


def test_seconds_are_tokens_by_speed() -> None:
    sequences = rows(10)
    tokens = sum(len(row.ids) for row in sequences)
    seconds, _ = estimate(tiny_model(), sequences, SETTINGS, 100.0)
    assert seconds == pytest.approx(SETTINGS.epochs * tokens / 100)
    longer, _ = estimate(tiny_model(), sequences, SETTINGS, 100.0, validation=sequences)
    assert longer == pytest.approx(seconds * 4 / 3)


def test_bytes_grow_with_length_rank_and_model() -> None:
    small = training_bytes(tiny_model(), rows(8), SETTINGS)
    assert training_bytes(tiny_model(), rows(8, low=40, high=60), SETTINGS) > small
    assert training_bytes(tiny_model(num_hidden_layers=4), rows(8), SETTINGS) > small
    higher = SETTINGS.model_copy(update={"rank": 32})
    assert training_bytes(tiny_model(), rows(8), higher) > small


def test_the_adapter_on_it_does_not_count_as_model() -> None:
    loaded = tiny_loaded()
    bare = training_bytes(loaded.model, rows(8), SETTINGS)
    with adapted(loaded, SETTINGS) as model:
        assert training_bytes(model, rows(8), SETTINGS) == pytest.approx(bare, rel=0.01)


def test_shapes_alone_are_enough() -> None:
    with torch.device("meta"):
        hollow = tiny_model()
    assert training_bytes(hollow, rows(8), SETTINGS) == training_bytes(
        tiny_model(), rows(8), SETTINGS
    )


def test_a_probe_gives_a_speed_and_leaves_no_trace() -> None:
    loaded = tiny_loaded()
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    assert probe_speed(loaded, rows(10), SETTINGS, seconds=0.05) > 0
    after = loaded.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.grad is not None for p in loaded.model.parameters())


def test_sizes_read_well() -> None:
    assert readable(1.5 * 2**30) == "1.5 GiB"
    assert readable(300 * 2**20) == "300 MiB"
