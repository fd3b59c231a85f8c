"""A tiny model that learns from a grader: to answer in small letters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.generate.tiny import byte_tokenizer, tiny_loaded

from assay.chat.template import Template
from assay.config import FineTune
from assay.config.reinforcement import Reinforcement
from assay.example import Example
from assay.generate.batch import Request
from assay.models.load import LoadedModel
from assay.train.job import TrainingJob
from assay.train.reinforce.questions import Grading, Question
from assay.train.units import answered_rows

SETTINGS = FineTune(
    method="reinforcement",
    rank=4,
    alpha=8,
    learning_rate=2e-2,
    rows_per_step=4,
    epochs=1,
    max_tokens=256,
    schedule="constant",
    reinforcement=Reinforcement(
        steps=6, prompts_per_step=3, group=4, updates=2, beta=0.02, evaluate_every=3
    ),
)
BEGINNING = "Everything that is asked here begins with these very words, however it ends: "


def small_letters(examples: Sequence[Example], texts: Sequence[str]) -> list[float]:
    """Share of the characters that are small letters of English."""
    return [sum("a" <= c <= "z" for c in text) / max(1, len(text)) for text in texts]


def exact(examples: Sequence[Example], texts: Sequence[str]) -> list[float]:
    """Whether it is the answer."""
    return [float(t == e.output) for e, t in zip(examples, texts, strict=True)]


def questions(count: int, seed: int = 0) -> list[Question]:
    """Prompts that begin alike."""
    examples = [
        Example.of(f"{BEGINNING}{seed} {number}", f"answer {number}", id=f"{seed}-{number}")
        for number in range(count)
    ]
    rows = answered_rows(examples, Template.of(byte_tokenizer()), "")
    return [
        Question((row,), example=example, request=Request(example.prompt, max_new_tokens=8))
        for row, example in zip(rows, examples, strict=True)
    ]


def job(
    folder: Path,
    settings: FineTune = SETTINGS,
    *,
    loaded: LoadedModel | None = None,
    reward: Any = small_letters,
    **named: Any,
) -> TrainingJob:
    """A training of a few seconds."""
    loaded = loaded or tiny_loaded()
    graded = Grading(
        Template.of(loaded.tokenizer), reward, {"exact": exact}, "exact", {"reward": "test"}
    )
    return TrainingJob(
        loaded, questions(7), questions(4, 1), settings, folder, graded_by=graded, **named
    )
