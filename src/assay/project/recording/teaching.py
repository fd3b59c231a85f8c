"""What a model's answers would bring a student, estimated before they are paid for.

    inputs, taught = estimate_teaching(choices, inputs, recording, progress)
    taught["data"].gain, taught["data"].says

Answers to training rows take the place of right ones that are there. Answers to further inputs are
further rows: what these bring is read off what the second half of the training rows has brought a
cheap student, a classifier that counts words, on validation. The holdout has no part in it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.data.duplicates import duplicate_groups
from assay.data.normal import normalise
from assay.data.split import load_train, load_validation
from assay.errors import DataError
from assay.evaluate.stats import wilson
from assay.example import Example, Message
from assay.generate.classical import TFIDF_GRID, fit_tfidf
from assay.generate.recorded import input_sha256
from assay.progress import Progress
from assay.project.recording.inputs import Part, PartInputs, RecordingChoices
from assay.rescue.recording import Recording

LEAST_JUDGED = 20
"""Answers to validation that are recorded, so that they say how often the teacher is right."""
FEWEST_ROWS, MOST_ROWS, MOST_TIMES = 150, 1200, 3
"""Training rows, and how many times as many further ones, with which estimates were tried."""
LEAST, MOST = 0.25, 1.75
"""The next doubling of the rows brings about what the last one has brought; at the least and at the
most these shares of that one's bounds. Chosen on one draw of the trials of bench/teaching.py;
another draw tells how often the range holds (docs/rescue.md)."""
_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Teaching:
    """What answers to the inputs of a part would bring a student.

    Attributes:
        says: so in a sentence, or why it cannot be estimated.
        gain, low, high: of its score on new inputs, with a range that held most trials (see
            `LEAST`); None where it cannot be estimated.
    """

    says: str
    gain: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def short(self) -> str:
        """The same as an entry of a table."""
        if self.gain is None or self.low is None or self.high is None:
            return "not known"
        return f"+{_range(self.gain, self.low, self.high)}" if self.gain else "little"


def estimate_teaching(
    choices: RecordingChoices,
    inputs: Sequence[PartInputs],
    recording: Recording,
    progress: Progress,
) -> tuple[list[PartInputs], dict[Part, Teaching]]:
    """What each part that is recorded for a student's sake would bring; nothing is sent.

    Returns:
        The parts as they are to be asked: further inputs that say something new before those that
        nearly repeat others, and before `train` where they bring something and nothing in the
        project learns the answers to that; and what a part brings, of `train` and `data` where
        there are any.
    """
    project = choices.project
    parts = {one.part: one for one in inputs}
    if project is None or not {"train", "data"} & set(parts):
        return list(inputs), {}
    taught: dict[Part, Teaching] = {}
    folder, right = project.split_folder, None
    train, judged = (
        [one for one in load(folder) if one.liked] for load in (load_train, load_validation)
    )
    if project.config.task == "label":
        right = _agreement(recording, judged)
    if "train" in parts:
        taught["train"] = Teaching(_OWN + _say_agreement(right), 0.0, 0.0, 0.0)
    if "data" in parts:
        parts["data"], new = _new_first(parts["data"], train)
        left = sum(not recording.has(one) for one in new)
        progress.say("Estimating what the answers would bring a student.")
        if not new:
            taught["data"] = Teaching(_REPEATED, 0.0, 0.0, 0.0)
        elif not left:
            taught["data"] = Teaching(
                "All further inputs that are new are answered.", 0.0, 0.0, 0.0
            )
        elif project.config.task != "label":
            taught["data"] = Teaching(_UNKNOWN.format("the task has no labels."))
        else:
            taught["data"] = estimate_further(train, judged, left, right)
    order = [one.part for one in inputs]
    learned = "distill" in project.config.candidates or project.config.fine_tune.recorded
    if not learned and set(taught) == {"train", "data"} and taught["data"].gain:
        order.sort(key=("holdout", "validation", "data", "train").index)
    return [parts[one] for one in order], taught


_OWN = (
    "Answers to training rows take the place of right ones that are there: they bring a student "
    "little but how sure the model was."
)
_REPEATED = (
    "Further inputs nearly repeat training rows or one another: answers to them bring little."
)
_UNKNOWN = "What answers to further inputs bring a student cannot be estimated: {}"


def _new_first(inputs: PartInputs, train: Sequence[Example]) -> tuple[PartInputs, list[str]]:
    """Inputs that are new before those that nearly repeat a training row or one of these; and the
    new ones."""
    texts = [*(one.input for one in train), *(inputs.examples[h].input for h in inputs.hashes)]
    first = duplicate_groups(map(normalise, texts)).cluster.tolist()
    new = [h for row, h in enumerate(inputs.hashes, start=len(train)) if first[row] == row]
    return replace(inputs, hashes=list(dict.fromkeys([*new, *inputs.hashes]))), new


def _agreement(recording: Recording, validation: Sequence[Example]) -> tuple[int, int] | None:
    """Of how many rows of validation the recorded answer is the rows' own; None: too few are."""
    known = [(recording.answers.get(input_sha256(one)), one.output) for one in validation]
    right = [answer.answer.text == own for answer, own in known if answer is not None]
    return (sum(right), len(right)) if len(right) >= LEAST_JUDGED else None


def _say_agreement(right: tuple[int, int] | None) -> str:
    if right is None:
        return ""
    return f" On validation it gives the rows' own answer {right[0]} times in {right[1]}."


def estimate_further(
    train: Sequence[Example],
    validation: Sequence[Example],
    inputs: int,
    right: tuple[int, int] | None,
) -> Teaching:
    """What so many answered inputs that are new bring, as further rows.

    Args:
        right: of how many recorded answers to validation how many are the rows' own; None: too few
            are recorded, and all answers are taken to be right.
    """
    if not validation or not FEWEST_ROWS <= len(train) <= MOST_ROWS:
        few = f"it takes {FEWEST_ROWS} to {MOST_ROWS} training rows, and there are {len(train)}."
        return Teaching(_UNKNOWN.format(few))
    try:
        own, last, error = _last_doubling(train, validation, right)
    except DataError as problem:
        return Teaching(_UNKNOWN.format(problem.what))
    if right is not None and wilson(*right)[0] <= own:
        why = (
            f"the model is not shown to be right more often than this student, a classifier that "
            f"counts words ({100 * own:.0f} in 100 on validation).{_say_agreement(right)}"
        )
        return Teaching(_UNKNOWN.format(why))
    counted = min(inputs, MOST_TIMES * len(train))
    doublings = math.log2(1 + counted / len(train))
    gain, low, high = (
        min(1 - own, doublings * change)
        for change in (
            last,
            min(share * (last - 1.96 * error) for share in (LEAST, MOST)),
            max(share * (last + 1.96 * error) for share in (LEAST, MOST)),
        )
    )
    if gain <= 0:
        return Teaching(_UNKNOWN.format("the last training rows have brought nothing."))
    says = f"{inputs} answered inputs that are new bring a classifier that counts words about "
    says += f"+{_range(gain, low, high)}"
    if counted < inputs:
        says += f", of which {counted} are counted: more were not tried"
    if right is None:
        says += ", if all of them are right"
    return Teaching(f"{says}.{_say_agreement(right)}", gain, low, high)


def _last_doubling(
    train: Sequence[Example], validation: Sequence[Example], right: tuple[int, int] | None
) -> tuple[float, float, float]:
    """The student's share of right answers on validation, what the second half of the training rows
    has brought of it, as often wrong as the teacher, and the standard error of that; never less
    than one row of validation."""
    full, gained = _scores(train, validation), []
    labels = sorted({one.output for one in train})
    for seed in range(_REPEATS):
        order, chance = list(train), random.Random(seed)
        chance.shuffle(order)
        half = order[: len(order) // 2]
        after = full
        if right is not None and right[0] < right[1]:
            wrong = 1 - right[0] / right[1]
            after = _scores(
                [*half, *_misread(order[len(half) :], wrong, labels, chance)], validation
            )
        gained.append(after - _scores(half, validation))
    each, count = np.mean(gained, axis=0), len(validation)
    error = max(float(each.std()) / math.sqrt(count), 1 / count)
    return float(full.mean()), float(each.mean()), error


def _misread(
    rows: Sequence[Example], share: float, labels: Sequence[str], chance: random.Random
) -> Iterator[Example]:
    """The rows, of which that share has another label."""
    wrong = set(chance.sample(range(len(rows)), round(share * len(rows))))
    for place, row in enumerate(rows):
        others = [one for one in labels if one != row.output]
        is_wrong = place in wrong and others
        said = Message("assistant", chance.choice(others)) if is_wrong else row.target
        yield replace(row, messages=(*row.prompt, said))


def _scores(part: Sequence[Example], validation: Sequence[Example]) -> NDArray[np.float64]:
    """Which rows of validation the student answers rightly, 1 or 0, after training on a part."""
    model = fit_tfidf(part, TFIDF_GRID[0])
    chosen = model.log_probabilities([one.input for one in validation]).argmax(axis=1)
    rows = zip(chosen, validation, strict=True)
    return np.array([float(model.labels[place] == one.output) for place, one in rows])


def _range(gain: float, low: float, high: float) -> str:
    """In points of a hundred."""
    return f"{100 * gain:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
