"""Simulated answers of two candidates, judged by a model that is wrong in known ways, and what
prediction-powered intervals say of them.

A hard example is hard for both candidates (as in `verdict_simulation`). A wrong answer is one of
five, one of them twice as tempting as all others together. The model labels the example, and a
predicted score is whether an answer is that label. The rule before had the normal quantile alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from unittest.mock import patch

import numpy as np
from scipy import special, stats

from assay.evaluate.bounds import ClusterJackknife
from assay.evaluate.prediction_powered import PoweredMeans, Sample, powered_means
from assay.evaluate.resampling import units
from assay.evaluate.stats import tango_interval, wilson

UNLABELLED = 2000
WRONG = 5
"""Wrong answers that there are to an example."""
SHARED = 0.6
"""Part of the latent variance that candidates (and a model that errs on hard rows) share."""
STRICT = 0.0304 / 15
"""The strictest step of Holm over six candidates in a first opening."""
LEAST = np.array([0.0, 0.0, -1.0])
Error = Literal["anywhere", "on hard rows", "for the first"]


@dataclass(frozen=True)
class Cell:
    """One configuration.

    Attributes:
        truth: true scores of the two candidates.
        wrong: share of the examples that the model labels wrong; where it errs `for the first`,
            share on which it takes over what the first candidate says.
        kind: of the scores: right or wrong, or the share of four fields.
        groups: of the labelled rows, four rows each in both samples.
    """

    n: int
    truth: tuple[float, float]
    wrong: float
    error: Error = "anywhere"
    kind: Literal["binary", "fields"] = "binary"
    groups: int | None = None

    @property
    def label(self) -> str:
        scores = "/".join(f"{100 * value:g}" for value in self.truth)
        groups = f"{self.groups} groups" if self.groups else "none"
        return f"{self.kind} | {self.n} | {groups} | {scores} | {100 * self.wrong:g} % {self.error}"


CELLS = (
    *(
        Cell(n, truth, wrong)
        for n, truth in ((100, (0.9, 0.9)), (100, (0.7, 0.7)), (300, (0.9, 0.88)))
        for wrong in (0.0, 0.05, 0.1, 0.3, 0.5)
    ),
    *(
        Cell(n, truth, wrong, error)
        for n, truth in ((100, (0.9, 0.9)), (300, (0.9, 0.88)), (300, (0.97, 0.95)))
        for wrong, error in ((0.1, "on hard rows"), (0.3, "for the first"))
    ),
    Cell(50, (0.7, 0.7), 0.05),
    Cell(200, (0.9, 0.88), 0.1, kind="fields"),
    Cell(240, (0.7, 0.7), 0.1, groups=60),
    Cell(240, (0.9, 0.88), 0.3, "for the first", groups=60),
)


@dataclass
class Tally:
    """Counts over the runs of one cell.

    Attributes:
        scores_before, differences_before: covered by the rule before.
        far: intervals at the strictest level of a verdict that miss.
        worth: labelled rows as informative as both samples together, over those there are.
    """

    runs: int
    scores_covered: int
    differences_covered: int
    far: int
    score_worth: float
    difference_worth: float
    scores_before: int = 0
    differences_before: int = 0

    @property
    def score_coverage(self) -> float:
        return self.scores_covered / (2 * self.runs)

    @property
    def difference_coverage(self) -> float:
        return self.differences_covered / self.runs


def draw(cell: Cell, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted scores of n examples, [n, 2 candidates] each."""
    fields = 4 if cell.kind == "fields" else 1
    common, own = rng.standard_normal((n, 1, fields)), rng.standard_normal((n, 3, fields))
    if cell.groups:  # half of the latent variance is the group's
        common = _half_by_group(common, rng)
        own = _half_by_group(own, rng)
    rank = stats.norm.cdf(np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own)
    wrong = np.where(
        rng.random((n, 3, fields)) < 0.5, 1, rng.integers(1, WRONG + 1, (n, 3, fields))
    )
    limit = np.array([*cell.truth, 1 - cell.wrong])[:, None]
    said = np.where(rank < limit, 0, wrong)
    answers, label = said[:, :2], said[:, 2]
    if cell.error == "anywhere":
        label = np.where(rng.random((n, fields)) < cell.wrong, wrong[:, 2], 0)
    elif cell.error == "for the first":
        label = np.where(rng.random((n, fields)) < cell.wrong, answers[:, 0], 0)
    return (answers == 0).mean(axis=2), (answers == label[:, None]).mean(axis=2)


def _half_by_group(own: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shared = rng.standard_normal((len(own) // 4, *own.shape[1:]))
    return np.sqrt(0.5) * (own + np.repeat(shared, 4, axis=0))


def simulate(cell: Cell, runs: int, seed: int) -> Tally:
    """Count how often intervals cover what is true, and what they are worth."""
    rng = np.random.default_rng([seed, *cell.label.encode()])
    truth = np.array([*cell.truth, cell.truth[0] - cell.truth[1]])
    tally = Tally(runs, 0, 0, 0, 0.0, 0.0)
    widths, classical = np.zeros(3), np.zeros(3)
    for _ in range(runs):
        scores, labelled = draw(cell, cell.n, rng)
        _, rest = draw(cell, UNLABELLED, rng)
        by_four = (lambda n: np.arange(n) // 4) if cell.groups else (lambda n: None)
        predicted = Sample(_columns(labelled), by_four(cell.n))
        unlabelled = Sample(_columns(rest), by_four(UNLABELLED))
        found = powered_means(_columns(scores), predicted, unlabelled, least=LEAST)
        covered = _covers(found, truth)
        tally.scores_covered += int(covered[:2].sum())
        tally.differences_covered += int(covered[2])
        with _normal_quantile_alone():
            before = powered_means(_columns(scores), predicted, unlabelled, least=LEAST)
        covered = _covers(before, truth)
        tally.scores_before += int(covered[:2].sum())
        tally.differences_before += int(covered[2])
        strict = powered_means(_columns(scores), predicted, unlabelled, least=LEAST, alpha=STRICT)
        tally.far += not strict.low[2] <= truth[2] + 1e-12 <= strict.high[2] + 2e-12
        widths += found.high - found.low
        classical += _classical_width(scores, predicted)
    worth = (classical / widths) ** 2
    tally.score_worth, tally.difference_worth = float(worth[:2].mean()), float(worth[2])
    return tally


def _covers(found: PoweredMeans, truth: np.ndarray) -> np.ndarray:
    covered: np.ndarray = (found.low <= truth + 1e-12) & (truth <= found.high + 1e-12)
    return covered


@contextmanager
def _normal_quantile_alone() -> Iterator[None]:
    """Neither rows at the bounds nor Student's t."""
    module = "assay.evaluate.prediction_powered"
    with (
        patch.multiple(module, ADDED_TO_SCORES=0.0, ADDED_TO_DIFFERENCES=0.0),
        patch(f"{module}.scipy.special.stdtrit", lambda freedom, level: special.ndtri(level)),
        np.errstate(invalid="ignore"),
    ):
        yield


def _columns(scores: np.ndarray) -> np.ndarray:
    return np.column_stack([scores, scores[:, 0] - scores[:, 1]])


def _classical_width(scores: np.ndarray, predicted: Sample) -> np.ndarray:
    """Of the intervals without the model, as a verdict has them; Student's t of other scores."""
    n, apart = len(scores), scores[:, 0] - scores[:, 1]
    if predicted.groups is None and set(np.unique(scores)) <= {0.0, 1.0}:
        low, high = tango_interval(int((apart > 0).sum()), int((apart < 0).sum()), n)
        singles = [wilson(int(one.sum()), n) for one in scores.T]
        return np.array([*(b - a for a, b in singles), high - low])
    data = units(_columns(scores), predicted.groups)
    low, high = ClusterJackknife.of(data, least=LEAST, most=1.0).interval(0.05)
    return high - low


HEAD = (
    "| kind | labelled | groups | true scores in 100 | the model is wrong | scores, before → now | "
    "difference, before → now | far out | worth, scores | worth, difference |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)


def table(results: Sequence[tuple[Cell, Tally]]) -> str:
    """Coverage and worth of every cell, as Markdown."""
    lines = [
        f"| {cell.label} | {100 * tally.scores_before / (2 * tally.runs):.1f} → "
        f"{100 * tally.score_coverage:.1f} % | {100 * tally.differences_before / tally.runs:.1f} → "
        f"{100 * tally.difference_coverage:.1f} % | {100 * tally.far / tally.runs:.2f} % | "
        f"{tally.score_worth:.1f} | {tally.difference_worth:.1f} |\n"
        for cell, tally in results
    ]
    return HEAD + "".join(lines)
