"""Rows of models that cannot share: one behind the other where that is exact, padded elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.invariants.test_tree_training import (
    assert_same,
    dpo,
    gradients,
    grown,
    unshared_logps,
)
from tests.rounding import near

from assay.prefix.layout import PACKED_TOKENS, layout_of
from assay.train.sequences import TrainingSequence, Unit, alone, packed_batches
from assay.train.step import in_passes, running, step, trained_states

_LLAMA = {
    "vocab_size": 264,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
_MAMBA = {"vocab_size": 264, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
_GPT2 = {"vocab_size": 264, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
_DROPOUTS = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "Granite": ("ForCausalLM", _LLAMA, "packed"),
    "Cohere2": ("ForCausalLM", {**_LLAMA, "sliding_window": 6}, "packed"),
    "GPTNeoX": ("ForCausalLM", _LLAMA, "packed"),
    "Mixtral": ("ForCausalLM", _LLAMA, "packed"),
    "GPT2": ("LMHeadModel", {**_GPT2, **_DROPOUTS, "bos_token_id": 1, "eos_token_id": 2}, "packed"),
    "Mamba": ("ForCausalLM", _MAMBA, "padded"),
}
ROWS = grown(5, levels=2)


def model_of(name: str) -> Any:
    import transformers

    kind, sizes, _ = MODELS[name]
    torch.manual_seed(0)
    model = getattr(transformers, name + kind)(getattr(transformers, f"{name}Config")(**sizes))
    return model.eval()


def unshared(model: Any) -> None:
    """The loss of a step, each row alone through plain transformers."""
    losses = [-(unshared_logps(model, row) * row.weight).sum() for row in ROWS]
    whole = sum(row.weight * row.trained_tokens for row in ROWS)
    (torch.stack(losses).sum() / whole).backward()


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_each_row_alone(name: str) -> None:
    model = model_of(name)
    assert layout_of(model) == MODELS[name][2]
    _, wanted = gradients(model, unshared)
    _, ours = gradients(model, step, alone(ROWS), tokens=32)
    assert_same(model, ours, {n: g for n, g in wanted.items() if float(g.norm()) > 0})
    some = [ROWS[i : i + 2] for i in range(0, len(ROWS) - 1, 2)]
    pairs = [Unit((first, second)) for first, second in some]

    def apart(model: Any) -> None:
        logps = [unshared_logps(model, row).sum() for pair in pairs for row in pair.rows]
        weight = sum(pair.rows[0].weight for pair in pairs)
        (dpo(torch.stack(logps), pairs) / weight).backward()

    _, wanted = gradients(model, apart)
    _, ours = gradients(model, step, pairs, dpo)
    assert_same(model, ours, {n: g for n, g in wanted.items() if float(g.norm()) > 0})


@pytest.mark.parametrize("name", MODELS)
def test_changing_a_row_leaves_the_others_as_they_are(name: str) -> None:
    model = model_of(name)
    changed = [*ROWS]
    first = ROWS[3]
    ids = [(token + 1) % 256 for token in first.ids]
    changed[3] = TrainingSequence(ids, first.trained, first.weight)

    def states(rows: list[TrainingSequence]) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad(), running(model):
            hidden, _, row = trained_states(model, rows)
        return hidden, row

    (before, row), (after, _) = states(ROWS), states(changed)
    others = row != 3
    torch.testing.assert_close(after[others], before[others], **near(before, model))
    assert not torch.allclose(after[~others], before[~others])


def test_a_model_that_takes_positions_for_granted_is_padded() -> None:

    model = model_of("GPT2")
    decoder = model.get_decoder()
    real = decoder.forward
    decoder.forward = lambda input_ids, position_ids=None, **more: real(input_ids, **more)
    assert layout_of(model) == "padded"


def test_a_packed_pass_is_bounded_and_none_is_empty() -> None:
    lengths = [5, 900, 30, 200, 2000, 1]
    batches = packed_batches(lengths, PACKED_TOKENS)
    assert batches == [[4], [1], [3, 2, 0, 5]]
    model = model_of("Granite")
    (family,) = in_passes(model, alone(ROWS), 40)
    assert sorted(place for places in family.passes for place in places) == list(range(len(ROWS)))
