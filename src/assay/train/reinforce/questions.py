"""What a training that learns from graders is fed: prompts, and what their answers are worth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from torch import nn

from assay.chat.template import Template
from assay.config import FineTune
from assay.config.reinforcement import Reinforcement
from assay.example import Example
from assay.generate.batch import Request
from assay.generate.transformers.batch import Draw, TransformersBatchEngine
from assay.models.load import LoadedModel
from assay.progress import SILENT, Progress
from assay.train.sequences import TrainingSequence, Unit

BATCH_TOKENS = 8192
"""Tokens of their own that answers drawn together hold."""

Reward = Callable[[Sequence[Example], Sequence[str]], list[float]]
"""What the answer to each example is worth."""


@dataclass(frozen=True, slots=True)
class Question(Unit):
    """A prompt; `rows` holds it with the answer of the data, which is only looked at by graders.

    Attributes:
        request: what the engine is asked, greedily.
    """

    example: Example | None = field(default=None, repr=False)
    request: Request | None = field(default=None, repr=False)

    @property
    def prompt(self) -> list[int]:
        """The tokens that an answer follows."""
        row = self.rows[0]
        return row.ids[: row.trained.index(True)]

    def at_most(self, limit: int) -> Question:
        """The same with no longer an answer than fits into a row of `limit` tokens."""
        assert self.request is not None
        room = min(self.request.max_new_tokens, limit - len(self.prompt))
        return replace(self, request=replace(self.request, max_new_tokens=max(1, room)))


@dataclass(frozen=True, slots=True)
class Grading:
    """What a training learns from beside its prompts.

    Attributes:
        template: of the model.
        reward: what is maximised.
        others: by name, graders beside the reward that validation is graded by; none is learned
            from.
        primary: the grader of the project that decides; it is in `others`, is the reward, or asks a
            model, which is not done here.
        key: of all that the rewards depend on (JSON-ready).
    """

    template: Template
    reward: Reward
    others: Mapping[str, Reward]
    primary: str
    key: Mapping[str, Any]


def draw(
    model: nn.Module,
    loaded: LoadedModel,
    template: Template,
    requests: Sequence[Request],
    progress: Progress = SILENT,
) -> list[Draw]:
    """The answers of a model in training as it is now, the same to the bit whenever asked.

    Args:
        loaded: what the model was made from.
    """
    engine = TransformersBatchEngine(
        replace(loaded, model=model),
        template,
        batch_tokens=BATCH_TOKENS,
        device=str(loaded.model.device),
        repeatable=True,
    )
    return engine.draw(requests, progress)


def sample_requests(question: Question, settings: FineTune, step: int, turn: int) -> list[Request]:
    """The requests of a group, each with a seed that nothing but its place decides.

    Args:
        turn: 0, or 1 where the step asks the prompt a second time, and so on.
    """
    assert question.request is not None
    own = settings.reinforcement
    return [
        replace(
            question.request,
            temperature=own.temperature,
            seed=_seed(settings.seed, step, question.rows[0].name, number),
        )
        for number in range(turn * own.group, (turn + 1) * own.group)
    ]


def row_of(question: Question, drawn: Draw) -> TrainingSequence:
    """The prompt and an answer, of which the answer is trained."""
    ids, row = [*drawn.prompt, *drawn.ids], question.rows[0]
    trained = [False] * len(drawn.prompt) + [True] * len(drawn.ids)
    return TrainingSequence(ids, trained, row.weight, row.name)


def longest_groups(questions: Sequence[Unit], own: Reinforcement, limit: int) -> list[Unit]:
    """The largest step there can be, to reckon memory with: no two answers begin alike.

    Args:
        limit: tokens of a row.
    """

    def longest(asked: Question) -> int:
        assert asked.request is not None
        return len(asked.prompt) + asked.request.max_new_tokens

    cut = [cast(Question, question).at_most(limit) for question in questions]
    made: list[Unit] = []
    for question in sorted(cut, key=longest, reverse=True)[: own.prompts_per_step]:
        prompt = question.prompt
        room = longest(question) - len(prompt)
        trained = [False] * len(prompt) + [True] * room
        made.append(
            Unit(
                tuple(
                    TrainingSequence([*prompt, number, *[0] * (room - 1)], trained)
                    for number in range(own.group)
                )
            )
        )
    return made


def _seed(*of: object) -> int:
    digest = hashlib.sha256("\0".join(map(str, of)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
