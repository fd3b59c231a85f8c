"""A random two-layer model and rows for it, small enough to train in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assay.config import FineTune
from assay.models.load import LoadedModel
from assay.train.job import TrainingJob
from assay.train.sequences import TrainingSequence, alone
from assay.train.session import TrainResult, train_by_method

VOCABULARY = 97
EOS = 2
SETTINGS = FineTune(rank=4, alpha=8, learning_rate=5e-3, epochs=2, rows_per_step=4, max_tokens=64)


def tiny_model(seed: int = 0, **changes: Any) -> Any:
    """A LlamaForCausalLM, float32, in eval mode; pad and end-of-text are one token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "eos_token_id": EOS,
        "pad_token_id": EOS,
        "tie_word_embeddings": True,
        # At the usual 0.02 the frozen head could not give any token much probability.
        "initializer_range": 0.3,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


def tiny_loaded(seed: int = 0, **changes: Any) -> LoadedModel:
    """The tiny model as `load` would give it."""
    model = tiny_model(seed, **changes)
    return LoadedModel(
        model=model,
        tokenizer=None,
        ref="tiny",
        weights_sha256=f"tiny-{seed}",
        context_length=128,
        dtype="float32",
    )


def rows(count: int, seed: int = 0, low: int = 5, high: int = 30) -> list[TrainingSequence]:
    """Rows of ragged length with a rule to learn: the last token again, then 7, then the end."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        prompt = generator.integers(3, VOCABULARY, generator.integers(low, high)).tolist()
        answer = [prompt[-1], 7, EOS]
        mask = [False] * len(prompt) + [True] * len(answer)
        made.append(TrainingSequence(prompt + answer, mask))
    return made


def rows_of_one_beginning(count: int) -> list[TrainingSequence]:
    """Rows of 61 tokens, all trained, that differ in the last one or in their weights: a step
    computes a state once and is given its gradient by every row."""
    generator = np.random.default_rng(0)
    ids = generator.integers(3, VOCABULARY, 60).tolist()
    return [TrainingSequence([*ids, 3 + n % 90], [True] * 61, 1 / (1 + n)) for n in range(count)]


def train(
    loaded: LoadedModel,
    train: Sequence[TrainingSequence],
    validation: Sequence[TrainingSequence],
    settings: FineTune,
    folder: Path,
    **named: Any,
) -> TrainResult:
    """Train on rows, each a unit of its own."""
    job = TrainingJob(loaded, alone(train), alone(validation), settings, folder, **named)
    return train_by_method(job)
