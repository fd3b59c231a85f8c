"""What a verdict is made from: the candidates' scores and costs, and what was fixed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from assay.compare.reasons import RIGHT_OR_WRONG, Scale
from assay.evaluate.stats import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One candidate's part in a comparison. Money is USD; None means not known, never 0.

    Attributes:
        scores: one score from 0 to 1 per holdout example, in the same order for every candidate;
            not read when `incomplete`.
        floor: takes part to be beaten and is never recommended.
        incomplete: its engine failed after retries, so that no call is made of it.
        setup_cost: once: curation and training.
        running_cost: a year of the stated requests: answering them, the machine kept on, upkeep.
        title: what it is called where nobody types its name; empty: by its name.
        answer_seconds: what one answer typically takes.
        outside: only its answers are here; `recorded`: the model that they were recorded of.
        trainings: how many differ in their seed alone; one of them takes part.
        training_spread: standard deviation of their true scores, as validation tells it.
    """

    name: str
    scores: Sequence[float] | Floats
    floor: bool = False
    fine_tuned: bool = False
    incomplete: bool = False
    setup_cost: float | None = None
    running_cost: float | None = None
    title: str = ""
    answer_seconds: float | None = None
    outside: bool = False
    recorded: str | None = None
    trainings: int = 0
    training_spread: float | None = None
    values: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.scores, dtype=float))


@dataclass(frozen=True, slots=True)
class Terms:
    """What was fixed before the holdout was opened.

    Attributes:
        margin: a difference this small does not matter.
        margin_for_cheaper: what a candidate that is cheaper to own may be worse; None is `margin`.
        alpha: family-wise level over all openings of the holdout.
        opening: which opening this is, from 1.
        good_enough: a candidate surely below this is not worth having.
        monthly_requests: volume at which costs are compared.
        judge_error: how far the mean of a judge's scores may lie from that of people's.
        discordance: mean squared difference of scores seen on validation.
        tested_first: the winner on validation, whose eligibility is tested at most of the level.
        scale: how scores are said in the reason.
        seed: of every resampling.
        resamples: None takes as many as the strictest step of Holm needs.
    """

    margin: float = 0.02
    margin_for_cheaper: float | None = None
    alpha: float = 0.05
    opening: int = 1
    good_enough: float | None = None
    monthly_requests: int = 10_000
    judge_error: float = 0.0
    discordance: float | None = None
    tested_first: str | None = None
    scale: Scale = RIGHT_OR_WRONG
    seed: int = 0
    resamples: int | None = None


def check(entries: Sequence[Entry], groups: Sequence[str] | None) -> int:
    """The number of examples that complete candidates were scored on.

    Raises:
        ValueError: names occur twice, lengths differ, or a score is not between 0 and 1.
    """
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise ValueError(f"candidates share a name: {sorted(names)}")
    complete = [entry for entry in entries if not entry.incomplete]
    lengths = {entry.name: len(entry.values) for entry in complete}
    if groups is not None:
        lengths["groups"] = len(groups)
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lengths differ: {lengths}")
    for entry in complete:
        if not ((entry.values >= 0) & (entry.values <= 1)).all():
            raise ValueError(f"scores of {entry.name} are not all between 0 and 1")
    return next(iter(lengths.values()), 0)
