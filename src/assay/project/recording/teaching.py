"""What a model's answers would bring a student, estimated before they are paid for.

    inputs, taught = estimate_teaching(choices, inputs, recording, progress)
    taught["data"].gain, taught["data"].says

Answers to training rows take the place of right ones that are there. Answers to further inputs are
further rows: what these bring is read off what the second half of the training rows has brought a
cheap student (`assay.project.recording.students`) on validation. The holdout has no part in it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.data.duplicates import duplicate_groups
from assay.data.normal import normalise
from assay.data.split import load_train, load_validation
from assay.errors import AssayError, DataError
from assay.evaluate.stats import wilson
from assay.example import Example, Message
from assay.generate.recorded import input_sha256
from assay.progress import SILENT, Progress
from assay.project.recording.inputs import Part, PartInputs, RecordingChoices
from assay.project.recording.students import Student, open_student
from assay.quantities import say_count
from assay.rescue.recording import Recording

LEAST_JUDGED = 20
"""Answers to validation that are recorded, so that they say how often the teacher is right."""
FEWEST_ROWS, MOST_TIMES = 150, 3
"""Training rows, and how many times as many further ones, with which estimates were tried."""
LEAST, MOST = 0.25, 1.75
"""The next doubling of the rows brings about what the last one has brought; at the least and at the
most these shares of that one's bounds. Chosen on one draw of the trials of bench/teaching.py;
another draw tells how often the range holds (docs/rescue.md)."""
MOST_JUDGED = 500
"""Rows of validation that a student answers after each training, the first ones."""
MOST_SECONDS = 180.0
"""After these no further training is begun, once there is one on half of the rows."""
_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Teaching:
    """What answers to the inputs of a part would bring a student.

    Attributes:
        says: so in a sentence, or why it cannot be estimated.
        gain, low, high: of its score on new inputs, with a range that held most trials (see
            `LEAST`); None where it cannot be estimated.
        student: by which it was estimated; None: by none.
    """

    says: str
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    student: str | None = None

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
    train, judged = (
        [one for one in load(project.split_folder) if one.liked]
        for load in (load_train, load_validation)
    )
    new: list[str] = []
    if "data" in parts:
        parts["data"], new = _new_first(parts["data"], train)
    left = sum(not recording.has(one) for one in new)
    further, right = Teaching(_ANSWERED if new else _REPEATED, 0.0, 0.0, 0.0), None
    answered = [one for one in judged if recording.has(input_sha256(one))]
    if left or len(answered) >= LEAST_JUDGED:
        try:
            with open_student(project) as student:
                right = _agreement(recording, answered, student)
                if left:
                    progress.say("Estimating what the answers would bring a student.")
                    further = estimate_further(train, judged, left, right, student, progress)
        except AssayError as problem:
            if left:
                further = Teaching(_UNKNOWN.format(problem.what))
    if "train" in parts:
        taught["train"] = Teaching(_OWN + _say_agreement(right), 0.0, 0.0, 0.0)
    if "data" in parts:
        taught["data"] = further
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
_ANSWERED = "All further inputs that are new are answered."
_UNKNOWN = "What answers to further inputs bring a student cannot be estimated: {}"


def _new_first(inputs: PartInputs, train: Sequence[Example]) -> tuple[PartInputs, list[str]]:
    """Inputs that are new before those that nearly repeat a training row or one of these; and the
    new ones."""
    texts = [*(one.input for one in train), *(inputs.examples[h].input for h in inputs.hashes)]
    first = duplicate_groups(map(normalise, texts)).cluster.tolist()
    new = [h for row, h in enumerate(inputs.hashes, start=len(train)) if first[row] == row]
    return replace(inputs, hashes=list(dict.fromkeys([*new, *inputs.hashes]))), new


def _agreement(
    recording: Recording, rows: Sequence[Example], student: Student
) -> tuple[float, int] | None:
    """The points that the recorded answers to rows get, and how many rows count; None: too few."""
    if len(rows) < LEAST_JUDGED:
        return None
    answers = [recording.answers[input_sha256(one)].answer.text for one in rows]
    scores = student.grade(answers, rows)
    return (float(scores.sum()), len(scores)) if len(scores) >= LEAST_JUDGED else None


def _say_agreement(right: tuple[float, int] | None) -> str:
    if right is None:
        return ""
    return f" On validation its answers get {right[0]:.4g} points of {right[1]}."


def estimate_further(
    train: Sequence[Example],
    validation: Sequence[Example],
    inputs: int,
    right: tuple[float, int] | None,
    student: Student,
    progress: Progress = SILENT,
) -> Teaching:
    """What so many answered inputs that are new bring, as further rows.

    Args:
        right: the points of recorded answers to validation, and how many these are; None: too few
            are recorded, and all answers are taken to be right.
    """
    if not validation or not FEWEST_ROWS <= len(train) <= student.most_rows:
        few = f"it takes {FEWEST_ROWS} to {student.most_rows} training rows, and there are "
        return Teaching(_UNKNOWN.format(f"{few}{len(train)}."))
    is_told = right is None or right[0] >= right[1] or student.foretells_errors
    try:
        own, last, error = _last_doubling(
            train, validation[:MOST_JUDGED], right if is_told else None, student, progress
        )
    except AssayError as problem:
        return Teaching(_UNKNOWN.format(problem.what))
    if right is not None and wilson(*right)[0] <= own:
        why = (
            f"the model is not shown to be right more often than {student.name}, which gets "
            f"{100 * own:.0f} of 100 points on validation.{_say_agreement(right)}"
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
    new = say_count(
        inputs, "answered input that is new brings", "answered inputs that are new bring"
    )
    says = f"{new} {student.name} about "
    says += f"+{_range(gain, low, high)}"
    if counted < inputs:
        says += f", of which {say_count(counted, 'is', 'are')} counted: more were not tried"
    if right is None or not is_told:
        says += ", if all of them are right"
    if not is_told:
        says += f".{_say_agreement(right)} What its errors take from that, trials did not foretell."
        return Teaching(says, student=student.name)
    says += f".{_say_agreement(right)} A fine-tuned student gains more or less than this one."
    return Teaching(says, gain, low, high, student.name)


def _last_doubling(
    train: Sequence[Example],
    validation: Sequence[Example],
    right: tuple[float, int] | None,
    student: Student,
    progress: Progress,
) -> tuple[float, float, float]:
    """The student's score on validation, what the second half of the training rows has brought of
    it, as often wrong as the teacher, and the standard error of that; never less than one row of
    validation."""
    wrong = 0.0 if right is None else 1 - right[0] / right[1]
    targets = {one.output: one.target for one in sorted(train, key=lambda one: one.output)}
    started, gained = time.monotonic(), []
    with progress.task("estimating", 1 + _REPEATS, "trainings") as task:
        full = student.scores(train, validation)
        if not (count := len(full)):
            raise DataError("the primary grader can say nothing about the rows of validation.")
        task.advance()
        for seed in range(_REPEATS):
            order, chance = list(train), random.Random(seed)
            chance.shuffle(order)
            half, rest = order[: len(order) // 2], order[len(order) // 2 :]
            after = full
            if wrong > 0:
                learned = _misread(rest, wrong, list(targets.values()), chance)
                after = student.scores([*half, *learned], validation)
            gained.append(after - student.scores(half, validation))
            task.advance()
            if time.monotonic() - started > MOST_SECONDS:
                break
    each = np.mean(gained, axis=0)
    error = max(float(each.std()) / math.sqrt(count), 1 / count)
    return float(full.mean()), float(each.mean()), error


def _misread(
    rows: Sequence[Example], share: float, targets: Sequence[Message], chance: random.Random
) -> Iterator[Example]:
    """The rows, of which that share has another row's answer."""
    wrong = set(chance.sample(range(len(rows)), round(share * len(rows))))
    for place, row in enumerate(rows):
        others = [one for one in targets if one.text != row.output]
        is_wrong = place in wrong and others
        said = chance.choice(others) if is_wrong else row.target
        yield replace(row, messages=(*row.prompt, said))


def _range(gain: float, low: float, high: float) -> str:
    """In points of a hundred."""
    return f"{100 * gain:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
