"""Which labels of the holdout deserve a second look, and the ceiling that they set.

It decides nothing: the scores and the verdict rest on the labels as they were locked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import compress

from assay.candidates.spec import listed_labels
from assay.compare.entries import Entry, Terms
from assay.compare.pairs import measure
from assay.config import Config
from assay.evaluate.documents import abstains
from assay.evaluate.graders.parse import parse_answer, spelling
from assay.evaluate.label_noise import (
    LEAST_RATERS,
    Rater,
    SecondLook,
    agreeing_at_least,
    doubtful_rows,
)
from assay.evaluate.measure import Measurement
from assay.evaluate.stats import group_numbers
from assay.example import Example


def find_second_look(
    measured: Mapping[str, Measurement],
    above_floor: Collection[str],
    examples: Sequence[Example],
    groups: Sequence[str] | None,
    config: Config,
) -> SecondLook | None:
    """The rows on which the candidates that know the job agree against the label.

    Args:
        measured: every candidate's measurement on `examples`, by its name.
        above_floor: names of those that are shown to be better than the floor.
        groups: of the rows that count; None where they are independent.

    Returns:
        None where fewer than two candidates know the job: nobody can doubt a label then.
    """
    raters = [_rater(name, one, config) for name, one in measured.items() if name in above_floor]
    raters = [rater for rater in raters if rater.knows]
    if len(raters) < LEAST_RATERS:
        return None
    counted = measured[raters[0].name].counted[config.primary]
    doubtful = doubtful_rows(raters)
    kept = Entry("", [float(not doubted) for doubted in doubtful])
    members = None if groups is None else group_numbers(groups)
    limits = measure([kept], members, Terms(), Terms().alpha).intervals[kept.name]
    return SecondLook(
        raters=[rater.name for rater in raters],
        agreeing=agreeing_at_least(len(raters)),
        rows=len(doubtful),
        ids=[example.id for example in compress(compress(examples, counted), doubtful)],
        ceiling=float(kept.values.mean()),
        low=limits.low,
        high=limits.high,
    )


def _rater(name: str, measured: Measurement, config: Config) -> Rater:
    counted = compress(measured.answers, measured.counted[measured.primary])
    answers = [_spelled(answer.text, config) for answer in counted]
    return Rater(name, answers, measured.primary_scores)


def _spelled(answer: str, config: Config) -> str | None:
    """One spelling for all answers that mean the same; None for what is no answer to the row, such
    as the sentence that the documents do not tell."""
    sentence = None if config.knowledge is None else config.knowledge.abstain
    if sentence is not None and abstains(answer, sentence):
        return None
    parsed = parse_answer(config.task, answer, config.labels)
    if parsed is None:
        return None
    value = parsed.value
    if listed_labels(config) is not None and isinstance(value, list):
        value = sorted(value, key=spelling)  # a set of labels, in any order
    return spelling(value)
