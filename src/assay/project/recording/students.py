"""Cheap students, which tell before answers are paid for what further rows bring.

    with open_student(project) as student:
        student.scores(part, validation)

Each is trained on rows alone, without a language model: for labels a classifier that counts words,
for records and calls the candidate that finds them field by field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.agent.engines import BatchEngines
from assay.candidates import registry
from assay.candidates.building import Context
from assay.errors import DataError
from assay.evaluate.measure import Bench
from assay.example import Example
from assay.generate.batch import Answer
from assay.generate.classical import TFIDF_GRID, fit_tfidf
from assay.models.embed import remember
from assay.place.scratch import scratch_folder
from assay.project.project import Project
from assay.store.store import Store

Scores = NDArray[np.float64]
_CANDIDATES = {"json": "extract", "tools": "extract-call"}
_OF_TEXTS = (
    "no cheap student of texts tells it: the answer of the most similar row gets hardly better by "
    "further rows, which says nothing of a student that writes its own."
)


@dataclass(frozen=True, slots=True)
class Student:
    """What learns from rows in seconds.

    Attributes:
        name: what it is, within a sentence.
        scores: of its answers to rows of validation, from 0 to 1, after training on a part.
        grade: the same of given answers.
        most_rows: for training, with which its estimates were tried (docs/rescue.md).
        foretells_errors: whether these held of teachers that err.
    """

    name: str
    scores: Callable[[Sequence[Example], Sequence[Example]], Scores]
    grade: Callable[[Sequence[str], Sequence[Example]], Scores]
    most_rows: int
    foretells_errors: bool


def _same(answers: Sequence[str], rows: Sequence[Example]) -> Scores:
    return np.array([float(said == row.output) for said, row in zip(answers, rows, strict=True)])


def _count_words(part: Sequence[Example], validation: Sequence[Example]) -> Scores:
    model = fit_tfidf(part, TFIDF_GRID[0])
    chosen = model.log_probabilities([one.input for one in validation]).argmax(axis=1)
    return _same([model.labels[place] for place in chosen], validation)


WORD_COUNTER = Student("a classifier that counts words", _count_words, _same, 1200, True)
"""Of labels."""


@contextmanager
def open_student(project: Project) -> Iterator[Student]:
    """The student of a project's task; what it keeps goes with the block.

    Raises:
        DataError: there is none that tells what further rows bring.
    """
    config = project.config
    if config.task == "label":
        yield WORD_COUNTER
        return
    if config.task not in _CANDIDATES:
        raise DataError(_OF_TEXTS)
    [primary] = (one for one in config.graders if one.label == config.primary)
    if primary.name == "judge":
        raise DataError("answers are graded by a model, which is not asked before you agree.")
    alone = config.model_copy(update={"graders": [primary]})
    with scratch_folder("student") as folder, remember():
        store = Store(folder / "state")
        try:
            bench = Bench(alone, project.root, store, BatchEngines(store))
            yield candidate_student(_CANDIDATES[config.task], bench)
        finally:
            store.engine.dispose()


def candidate_student(name: str, bench: Bench) -> Student:
    """A candidate as a student; the state of `bench` keeps what it makes."""

    def scores(part: Sequence[Example], validation: Sequence[Example]) -> Scores:
        made = registry.build(name, Context(tuple(part), tuple(validation), bench))
        return np.array(made.scores)

    def grade(answers: Sequence[str], rows: Sequence[Example]) -> Scores:
        return np.array(bench.grade([Answer(one) for one in answers], rows).primary_scores)

    called = f"{name} ({registry.specs()[name].title})"
    return Student(called, scores, grade, most_rows=600, foretells_errors=False)
