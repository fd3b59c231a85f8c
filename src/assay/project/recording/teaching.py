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
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.data.duplicates import duplicate_groups
from assay.data.normal import normalise
from assay.data.split import load_train, load_validation
from assay.errors import DataError
from assay.example import Example
from assay.generate.classical import TFIDF_GRID, fit_tfidf
from assay.generate.recorded import input_sha256
from assay.progress import Progress
from assay.project.recording.inputs import Part, PartInputs, RecordingChoices
from assay.rescue.recording import Recording

LEAST_JUDGED = 20
"""Answers to validation that are recorded, so that they say how often the teacher is right."""
FEWEST_ROWS, MOST_ROWS = 100, 5000
"""Training rows that tell something, and that a student is trained on in seconds."""
DOUBLING, LEAST, MOST = 0.8, 0.5, 1.1
"""What the next doubling of the rows brings, as shares of what the last one has brought: about, at
the least and at the most. Chosen so that what further rows of three public jobs brought lay in the
range in 86 of 88 trials (docs/rescue.md)."""
_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Teaching:
    """What answers to the inputs of a part would bring a student.

    Attributes:
        says: so in a sentence, or why it cannot be estimated.
        gain, low, high: of its score on new inputs, with the range that is likely (95 %); None
            where it cannot be estimated.
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
            taught["data"] = _of_further(train, judged, left, right)
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
    right = [answer.answer.text.strip() == own for answer, own in known if answer is not None]
    return (sum(right), len(right)) if len(right) >= LEAST_JUDGED else None


def _say_agreement(right: tuple[int, int] | None) -> str:
    if right is None:
        return ""
    return f" On validation it gives the rows' own answer {right[0]} times in {right[1]}."


def _of_further(
    train: Sequence[Example],
    validation: Sequence[Example],
    inputs: int,
    right: tuple[int, int] | None,
) -> Teaching:
    """What so many further inputs bring, of which the answers of the teacher that are right count
    as rows, and the others as none."""
    if not validation or not FEWEST_ROWS <= len(train) <= MOST_ROWS:
        few = f"it takes {FEWEST_ROWS} to {MOST_ROWS} training rows, and there are {len(train)}."
        return Teaching(_UNKNOWN.format(few))
    rows = inputs if right is None else inputs * right[0] / right[1]
    try:
        last, error = _last_doubling(train, validation)
    except DataError as problem:
        return Teaching(_UNKNOWN.format(problem.what))
    doublings = math.log2(1 + rows / len(train))
    gain, low, high = (
        max(0.0, share * doublings * (last + error * sign))
        for share, sign in ((DOUBLING, 0.0), (LEAST, -1.96), (MOST, 1.96))
    )
    unjudged = " if all of them are right" if right is None else ""
    says = (
        f"{inputs} answered inputs that are new bring a classifier that counts words about "
        f"+{_range(gain, low, high)}{unjudged}.{_say_agreement(right)}"
    )
    return Teaching(says, gain, low, high)


def _last_doubling(train: Sequence[Example], validation: Sequence[Example]) -> tuple[float, float]:
    """What the second half of the training rows has brought on validation, and the standard error
    of that; never less than one row of validation."""
    halves = []
    for seed in range(_REPEATS):
        order = list(train)
        random.Random(seed).shuffle(order)
        halves.append(_scores(order[: len(order) // 2], validation))
    gained = _scores(train, validation) - np.mean(halves, axis=0)
    count = len(validation)
    return float(gained.mean()), max(float(gained.std()) / math.sqrt(count), 1 / count)


def _scores(part: Sequence[Example], validation: Sequence[Example]) -> NDArray[np.float64]:
    """Which rows of validation the student answers rightly, 1 or 0, after training on a part."""
    model = fit_tfidf(part, TFIDF_GRID[0])
    chosen = model.log_probabilities([one.input for one in validation]).argmax(axis=1)
    rows = zip(chosen, validation, strict=True)
    return np.array([float(model.labels[place] == one.output) for place, one in rows])


def _range(gain: float, low: float, high: float) -> str:
    """In points of a hundred."""
    return f"{100 * gain:.1f} points (likely {100 * low:.1f} to {100 * high:.1f})"
