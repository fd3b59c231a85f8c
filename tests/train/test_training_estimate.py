"""Time and memory before a training starts, and the number format that is fast here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.tiny import SETTINGS, VOCABULARY, rows, tiny_loaded, tiny_model

from assay.train import estimate as module
from assay.train.adapters import adapt
from assay.train.device import readable
from assay.train.estimate import (
    largest_pass,
    remedies,
    training_bytes,
)
from assay.train.sequences import TrainingSequence, alone

UNITS = alone(rows(8))


def _bytes(units: Any = UNITS, model: Any = None, **changes: Any) -> int:
    chosen = SETTINGS.model_copy(update=changes)
    return training_bytes(tiny_model() if model is None else model, units, chosen)


def test_bytes_grow_with_length_rank_and_model() -> None:
    small = _bytes()
    assert _bytes(alone(rows(8, low=40, high=60))) > small
    assert _bytes(model=tiny_model(num_hidden_layers=4)) > small
    assert _bytes(rank=32) > small


def test_more_that_is_trained_takes_more() -> None:
    assert _bytes(adapter="lora") == _bytes(adapter="rslora") < _bytes(adapter="dora")
    assert _bytes(adapter="lora") < _bytes(adapter="full")
    parameters = sum(p.numel() for p in tiny_model().parameters())  # tied ones once
    assert _bytes(adapter="full") - _bytes(adapter="lora") > 10 * parameters
    kept = [_bytes(adapter="full", method=method) for method in ("sft", "reinforcement")]
    assert 4 * parameters < kept[1] - kept[0] < 4.4 * parameters


def test_what_keeps_less_is_said_to_take_less() -> None:
    """Dropout leaves PEFT's layers as they are (`assay.train.fused`)."""
    long = alone(rows(8, low=200, high=300))
    assert _bytes(long) < _bytes(long, dropout=0.1)
    assert _bytes(long, adapter="rslora") == _bytes(long)


def test_activations_computed_twice_take_less() -> None:
    deep = tiny_model(num_hidden_layers=12)
    on, off = (_bytes(model=deep, activation_checkpointing=way) for way in ("on", "off"))
    assert on < off
    assert _bytes(model=deep, activation_checkpointing="auto") == off
    assert training_bytes(deep, UNITS, SETTINGS, "bfloat16") < off


def test_weights_that_bfloat16_holds_are_counted_once() -> None:
    """Their float32 goes while the run lasts, where a copy would have come beside it."""
    model = tiny_model(num_hidden_layers=8, hidden_size=128, intermediate_size=512)
    units = alone(rows(8, low=40, high=60))
    copied = training_bytes(model, units, SETTINGS, "bfloat16")
    model.bfloat16().float()
    once = training_bytes(model, units, SETTINGS, "bfloat16")
    maps = sum(m.weight.numel() for n, m in model.named_modules() if n.endswith("_proj"))
    assert 3.9 * maps < copied - once < 4.3 * maps
    assert training_bytes(model, units, SETTINGS) == _bytes(units, model)  # no matter in float32
    stored = training_bytes(model.bfloat16(), units, SETTINGS, "bfloat16")  # neither copy nor gain
    assert 1.9 * maps < stored - once < 2.2 * maps
    model.float()
    assert once < training_bytes(
        model, units, SETTINGS.model_copy(update={"dropout": 0.1}), "bfloat16"
    )


def _bytes_of_passes(units: Any, **changes: Any) -> int:
    return largest_pass(tiny_model(), units, SETTINGS.model_copy(update=changes))[0]


def test_a_pass_counts_shared_tokens_once() -> None:
    prefix = list(range(3, 60))
    sharing = [TrainingSequence([*prefix, n, 2], [False] * 58 + [True]) for n in range(60, 68)]
    found = _bytes_of_passes(alone(sharing), rows_per_step=8)
    assert found == 57 + 8  # the last token of a row is trained on but never computed
    # Two rows save less than a node is worth (`assay.prefix.tree.LEAST_SAVED`).
    assert _bytes_of_passes(alone(sharing), rows_per_step=2) == 2 * 58


def test_a_trunk_is_held_with_each_pass_over_it_and_its_keys_beside() -> None:
    prefix = [3 + n % 50 for n in range(400)]
    sharing = [
        TrainingSequence([*prefix, *(60 + n for _ in range(100)), 2], [False] * 500 + [True])
        for n in range(30)
    ]
    changed = SETTINGS.model_copy(update={"rows_per_step": 30, "tokens_per_pass": 1000})
    assert largest_pass(tiny_model(), alone(sharing), changed) == (400 + 600, 400)
    bare = alone([TrainingSequence(row.ids[400:], row.trained[400:]) for row in sharing])
    assert largest_pass(tiny_model(), bare, changed)[1] == 0


@given(seed=st.integers(0, 1000), limit=st.integers(64, 200))
@settings(max_examples=20, deadline=None)
def test_a_pass_holds_at_most_its_tokens(seed: int, limit: int) -> None:
    units = alone(rows(30, seed=seed, low=5, high=60))
    found = _bytes_of_passes(units, rows_per_step=16, tokens_per_pass=limit)
    longest = max(len(unit.rows[0].ids) for unit in units)
    assert longest - 1 <= found <= limit


def test_the_adapter_on_it_does_not_count_as_model() -> None:
    loaded = tiny_loaded()
    bare = training_bytes(loaded.model, UNITS, SETTINGS)
    with adapt(loaded, SETTINGS) as model:
        assert training_bytes(model, UNITS, SETTINGS) == bare


def test_shapes_alone_are_enough() -> None:
    with torch.device("meta"):
        hollow = tiny_model()
    for adapter in ("lora", "dora", "full"):
        assert _bytes(model=hollow, adapter=adapter) == _bytes(adapter=adapter)


@pytest.mark.parametrize(
    ("adapter", "embeddings"),
    [("lora", "frozen"), ("dora", "frozen"), ("full", "frozen"), ("lora", "train")],
)
def test_what_is_advised_fits(
    adapter: str, embeddings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROCESS", 0)  # would drown so small a model
    size = 8_000 if embeddings == "train" else VOCABULARY
    model = tiny_model(num_hidden_layers=8, vocab_size=size, tie_word_embeddings=False)
    units = alone(rows(40, low=5, high=60))
    own = SETTINGS.model_copy(
        update={
            "adapter": adapter,
            "embeddings": embeddings,
            "rank": 64,
            "tokens_per_pass": 1024,
            "rows_per_step": 40,
        }
    )
    needed = training_bytes(model, units, own)
    seen = set()
    for share in range(5, 100, 5):
        available = needed * share // 100
        said = remedies(model, units, own, available, "float32")
        seen.add(said)
        if not said.startswith("Set "):
            assert "fine_tune.max_tokens" in said
            assert "would still need" in said
            continue
        changes = {}
        advice, *without = said.removeprefix("Set ").removesuffix(".").split(" and leave out ")
        assert bool(without) == ("embeddings: frozen" in advice)
        for part in advice.split(", "):
            name, value = part.removeprefix("fine_tune.").split(": ")
            changes[name] = int(value) if value.isdigit() else value
        assert training_bytes(model, units, own.model_copy(update=changes)) <= available
    assert len(seen) >= 3
    frozen = any(said.startswith("Set ") and "embeddings: frozen" in said for said in seen)
    assert frozen == (embeddings == "train")


def test_sizes_read_well() -> None:
    assert readable(1.5 * 2**30) == "1.5 GiB"
    assert readable(300 * 2**20) == "300 MiB"
