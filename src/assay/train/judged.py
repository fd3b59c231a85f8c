"""Training on judged answers: pairs (dpo, ipo, orpo) or thumbs (kto), from examples to an adapter.

    units = pairs(examples, Template.of(loaded.tokenizer), "You answer in verse.")
    result = train_judged(loaded, units, validation, FineTune(method="dpo"), Path("run"))

Only the judged answer is trained; earlier turns of the assistant are part of the prompt. Both
answers of a pair follow the same prompt ids, which the step computes once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from assay.chat.template import Template
from assay.config import FineTune
from assay.errors import DataError
from assay.example import Example, Message
from assay.models.load import LoadedModel
from assay.progress import SILENT, Progress
from assay.train.device import Compute, compute_dtype
from assay.train.preference import Pair, Thumb, judged_rows, mismatch, objective_of
from assay.train.reference import reference_logps
from assay.train.sequences import TrainingSequence, Unit
from assay.train.sft import TrainResult, checked, train_units

Judged = Pair | Thumb


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
                fix="fine_tune.method dpo, ipo and orpo need a better and a worse answer in every "
                "row; kto takes thumbs, sft answers.",
            )
        chosen = _row(example, example.target, template, prompt)
        rejected = _row(example, example.rejected[-1], template, prompt)
        if chosen.ids == rejected.ids:
            raise DataError(
                "the chosen and the rejected answer are the same.",
                where=example.id,
                fix="Remove the row; it teaches nothing.",
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
                "there is neither a thumb nor a rejected answer.",
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


def train_judged(
    loaded: LoadedModel,
    train: Sequence[Judged],
    validation: Sequence[Judged],
    settings: FineTune,
    folder: Path,
    progress: Progress = SILENT,
    *,
    compute: Compute | None = None,
    checkpoint_seconds: float = 30.0,
) -> TrainResult:
    """Train by `settings.method` (not sft); a step has `rows_per_step` units.

    The log-probabilities of the base model are computed first and kept in the run's folder. The
    rest, and the other arguments, are as in `assay.train.sft.train`; losses are means over units.

    Args:
        train, validation: pairs for dpo, ipo and orpo, thumbs for kto.

    Raises:
        DataError: nothing to train, a row that cannot be trained on, or thumbs that are all alike.
        ModelError, KeyboardInterrupt: as `assay.train.sft.train`.
    """
    compute = compute or compute_dtype(loaded)
    limit = min(settings.max_tokens, loaded.context_length)
    sets: list[list[Judged]] = [
        checked(train, "training", loaded, settings),
        checked(validation, "validation", loaded, settings),
    ]
    judgements: list[bool] = []
    if settings.method == "kto":
        sets = [[*mismatch(_thumbs(units), limit)] for units in sets]
        judgements = [thumb.desirable for units in sets for thumb in _thumbs(units)]
        _check_both(_thumbs(sets[0]))
    if settings.method != "orpo":
        rows = [row for units in sets for unit in units for row in judged_rows(unit)]
        logps = reference_logps(
            loaded,
            rows,
            folder,
            compute=compute,
            tokens=settings.tokens_per_pass,
            progress=progress,
        )
        both = iter(zip(logps[::2], logps[1::2], strict=True))
        sets = [[replace(unit, reference=next(both)) for unit in units] for units in sets]
    return train_units(
        loaded,
        sets[0],
        sets[1],
        settings,
        folder,
        progress,
        compute=compute,
        checkpoint_seconds=checkpoint_seconds,
        objective_of=objective_of(settings, sets[0]),
        judgements=judgements,
    )


def _thumbs(units: Sequence[Unit]) -> list[Thumb]:
    return list(cast(Sequence[Thumb], units))


def _check_both(thumbs: Sequence[Thumb]) -> None:
    kinds = {thumb.desirable for thumb in thumbs}
    if len(kinds) == 1:
        raise DataError(
            f"every thumb of the training rows points {'up' if True in kinds else 'down'}.",
            fix="fine_tune.method kto learns from the difference and needs both; use sft for "
            "answers that are all good.",
        )
