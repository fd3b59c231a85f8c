"""From examples to an adapter by any method: answers (sft), pairs (dpo, ipo, orpo), thumbs (kto).

    units = units_of("dpo", examples, Template.of(loaded.tokenizer), "You answer in verse.")
    job = TrainingJob(loaded, units, checks, FineTune(method="dpo"), Path("run"))
    result = train_by_method(job)

Of a judged example only the judged answer is trained; earlier turns of the assistant are part of
the prompt. Both answers of a pair follow the same prompt ids, which the step computes once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from assay.chat.template import Template
from assay.errors import DataError
from assay.example import Example, Message
from assay.store.files import one_at_a_time
from assay.train.choices import choose
from assay.train.job import TrainingJob
from assay.train.preference import Pair, Thumb, judged_rows, mismatch, objective_of
from assay.train.reference import reference_logps
from assay.train.sequences import TrainingSequence, Unit, alone
from assay.train.session import TrainResult, train_units


def units_of(
    method: str, examples: Sequence[Example], template: Template, prompt: str
) -> list[Unit]:
    """What a training by `method` is fed, from examples under a system prompt.

    Raises:
        DataError: an example the method cannot learn from; it is named.
    """
    if method == "sft":
        return [*alone(sequences(examples, template, prompt))]
    return [*(thumbs if method == "kto" else pairs)(examples, template, prompt)]


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
                fix="fine_tune.method dpo, ipo and orpo need a better and a worse answer "
                "in every row; kto needs a thumb up or down, sft only answers.",
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
                fix='fine_tune.method kto needs "label": true or false in every row; use sft for '
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


def train_by_method(job: TrainingJob) -> TrainResult:
    """Train by `job.settings.method`; a step has `rows_per_step` units.

    For dpo, ipo and kto the base model's log-probabilities are computed first and kept in the run's
    folder. Losses are means over units (sft: over tokens). Of two processes with one folder the
    second waits, and finds what the first has made. All else is said at `session.train_units`.

    Raises:
        DataError: nothing to train, a row that cannot be trained on, or thumbs that are all alike.
        ModelError, KeyboardInterrupt: as `session.train_units`.
    """
    job = job.validate()
    method = job.settings.method
    said = "Another process is running this training; waiting for it to finish."
    with one_at_a_time(job.folder / "lock", lambda: job.progress.say(said)):
        choices = choose(job)
        sets = [job.train, job.validation]
        judgements: list[bool] = []
        reference_seconds = 0.0
        if method == "kto":
            sets = [mismatch(_thumbs(units), job.max_tokens) for units in sets]
            judgements = [thumb.desirable for units in sets for thumb in _thumbs(units)]
            _check_both(_thumbs(sets[0]))
        if method not in ("sft", "orpo"):
            judged = [cast(list[Pair | Thumb], units) for units in sets]
            rows = [row for units in judged for unit in units for row in judged_rows(unit)]
            with choices.apply(job.loaded.model):
                logps, reference_seconds = reference_logps(job, rows, choices.compute)
            both = iter(zip(logps[::2], logps[1::2], strict=True))
            sets = [[replace(unit, reference=next(both)) for unit in units] for units in judged]
        job = replace(job, train=sets[0], validation=sets[1])
        objective = None if method == "sft" else objective_of(job.settings, job.train)
        result = train_units(job, choices, objective, judgements)
        return replace(result, preparation_seconds=reference_seconds)


def _thumbs(units: Sequence[Unit]) -> list[Thumb]:
    return list(cast(Sequence[Thumb], units))


def _check_both(thumbs: Sequence[Thumb]) -> None:
    kinds = {thumb.desirable for thumb in thumbs}
    if len(kinds) == 1:
        raise DataError(
            f"every training row has a thumb {'up' if True in kinds else 'down'}.",
            fix="fine_tune.method kto learns from the difference, so it needs both; use "
            "sft for answers that are all good.",
        )
