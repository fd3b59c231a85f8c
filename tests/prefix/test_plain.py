"""Models of other architectures are run whole, and give what they give alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from tests.rounding import near

from assay.prefix.decode import can_share
from assay.prefix.plain import PlainDecoder

SPECIAL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def model_of(name: str) -> Any:
    torch.manual_seed(0)
    config = {
        "gpt2": lambda: transformers.GPT2Config(
            n_layer=2, n_embd=32, n_head=2, vocab_size=99, n_positions=64, **SPECIAL
        ),
        "bloom": lambda: transformers.BloomConfig(
            n_layer=2, hidden_size=32, n_head=4, vocab_size=99, **SPECIAL
        ),
        "mamba": lambda: transformers.MambaConfig(
            num_hidden_layers=2, hidden_size=32, vocab_size=99, **SPECIAL
        ),
    }[name]()
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("name", ["gpt2", "bloom", "mamba"])
def test_batches_of_equal_length_give_what_each_prompt_gives_alone(name: str) -> None:
    model = model_of(name)
    assert not can_share(model)
    decoder = PlainDecoder(model)
    prompts = [tuple(range(3, 3 + n)) for n in (5, 8, 5, 8, 5)] + [(9, 9, 9, 9, 1)]
    with decoder.running():
        batches = decoder.batches(prompts, [4] * 6, slots=1000)
        assert [b.members for b in batches] == [(0, 2, 4, 5), (1, 3)]
        decoder.begin(batches[0])
        decoder.step([0, 2, 3], torch.tensor([11, 13, 14]))
        decoder.keep([0, 2, 3])
        logits = decoder.step([0, 1], torch.tensor([21, 23]))
        for row, (member, more) in enumerate(((0, (11, 21)), (4, (13, 23)))):
            alone = model(torch.tensor([prompts[member] + more])).logits[0, -1]
            torch.testing.assert_close(logits[row], alone, **near(alone, model))
    assert len(logits) == 2


def test_slots_bound_a_batch() -> None:
    decoder = PlainDecoder(model_of("gpt2"))
    batches = decoder.batches([(1, 2, 3)] * 7, [2] * 7, slots=15)
    assert [len(b.members) for b in batches] == [3, 3, 1]
