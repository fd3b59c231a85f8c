"""From examples to what a training is fed: answers, pairs of answers, answers with a thumb.

    units = units_of("pairs", examples, Template.of(loaded.tokenizer), "You answer in verse.")

Of a judged example only the judged answer is trained; earlier turns of the assistant are part of
the prompt. Both answers of a pair follow the same prompt ids, which the step computes once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.chat.template import Template
from assay.data.propose import Judgement
from assay.errors import DataError
from assay.example import Example, Message
from assay.train.sequences import TrainingSequence, Unit, alone


@dataclass(frozen=True, slots=True)
class Pair(Unit):
    """A better and a worse answer to one prompt; `rows` is (chosen, rejected)."""


@dataclass(frozen=True, slots=True)
class Thumb(Unit):
    """An answer somebody liked or did not; `rows` holds that answer alone.

    Attributes:
        desirable: the thumb.
        mismatched: the same prompt with an answer to another one, for KTO's estimate of how far
            the model has moved; never trained.
    """

    desirable: bool = True
    mismatched: TrainingSequence | None = None

    @property
    def measured(self) -> tuple[TrainingSequence, ...]:
        """The answer, and the mismatched one."""
        return self.rows if self.mismatched is None else (*self.rows, self.mismatched)

    @property
    def judgement(self) -> Any:
        """The thumb, which the rows do not tell."""
        return self.desirable


def units_of(
    judgement: Judgement, examples: Sequence[Example], template: Template, prompt: str
) -> list[Unit]:
    """What a training is fed, from examples under a system prompt.

    Args:
        judgement: what is learned from, `MethodSpec.learns_from`.

    Raises:
        DataError: an example that cannot be learned from in this way; it is named.
    """
    if judgement == "answers":
        return [*alone(sequences(examples, template, prompt))]
    return [*(thumbs if judgement == "thumbs" else pairs)(examples, template, prompt)]


def sequences(
    examples: Sequence[Example], template: Template, prompt: str
) -> list[TrainingSequence]:
    """Token ids and mask of each example: one sequence, or one for each trained turn where the
    template changes earlier turns. One that is too long is refused by the trainer, never cut.
    An answer that somebody disliked is left out."""
    return [
        TrainingSequence(rendered.ids, rendered.trained, example.weight, example.id)
        for example in examples
        if example.desirable is not False
        for rendered in template.render_all(example.with_system(prompt).messages, example.tools)
    ]


def answered_rows(
    examples: Sequence[Example], template: Template, prompt: str
) -> list[TrainingSequence]:
    """One row of each example: its prompt and its last answer, which alone is trained."""
    return [_row(example, example.target, template, prompt) for example in examples]


def pairs(examples: Sequence[Example], template: Template, prompt: str) -> list[Pair]:
    """The chosen and the rejected answer of each example.

    Raises:
        DataError: an example has no rejected answer, or the same one twice; it is named.
    """
    made = []
    for example in examples:
        if not example.rejected:
            raise DataError(
                "there is no rejected answer to learn from.",
                where=example.id,
                fix="This fine_tune.method needs a better and a worse answer in every row; kto "
                "needs a thumb up or down, sft only answers.",
            )
        chosen = _row(example, example.target, template, prompt)
        rejected = _row(example, example.rejected[-1], template, prompt)
        if chosen.ids == rejected.ids:
            raise DataError(
                "the chosen and the rejected answer are the same.",
                where=example.id,
                fix="Remove the row; nothing can be learned from it.",
            )
        made.append(Pair((chosen, rejected)))
    return made


def thumbs(examples: Sequence[Example], template: Template, prompt: str) -> list[Thumb]:
    """The judged answer of each example; a pair counts as one thumb up and one down.

    Raises:
        DataError: an example has no judgement; it is named.
    """
    made = []
    for example in examples:
        liked = True if example.rejected else example.desirable
        if liked is None:
            raise DataError(
                "the row has neither a thumb up or down nor a rejected answer.",
                where=example.id,
                fix='This fine_tune.method needs "label": true or false in every row; use sft for '
                "answers without a judgement.",
            )
        made.append(Thumb((_row(example, example.target, template, prompt),), desirable=liked))
        if example.rejected:
            worse = _row(example, example.rejected[-1], template, prompt)
            made.append(Thumb((worse,), desirable=False))
    return made


def _row(example: Example, answer: Message, template: Template, prompt: str) -> TrainingSequence:
    before = [replace(turn, trained=False) for turn in example.with_system(prompt).prompt]
    answer = replace(answer, trained=True)
    (rendered,) = template.render_all([*before, answer], example.tools)
    return TrainingSequence(rendered.ids, rendered.trained, example.weight, example.id)
