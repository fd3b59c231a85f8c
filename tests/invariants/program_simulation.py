"""A program that changes and compares, again and again, on one holdout, and improves nothing.

Every version has the same true mean. The program is as unlucky a user as can be: after each
comparison it goes on from the version that scored higher on the holdout. Each comparison is judged
by the complete `decide` at the level of its opening, which is what the log of openings leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from tests.compare.yearly import yearly
from tests.invariants.verdict_simulation import MARGIN, VALIDATION

from assay.compare.verdict import Entry, Terms, decide

MEAN = 0.8
COMPARISONS = 50


@dataclass(frozen=True)
class Holdout:
    """Rows that are asked again and again, some harder than others.

    Attributes:
        shared: part of the latent variance that is the row's own, the same for every version.
    """

    rows: int = 300
    shared: float = 0.8

    def version(self, hard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """1 where a version of mean `MEAN` is right on rows of this hardness, else 0."""
        own = rng.standard_normal(len(hard))
        ranks = stats.norm.cdf(np.sqrt(self.shared) * hard + np.sqrt(1 - self.shared) * own)
        return (ranks < MEAN).astype(float)


@dataclass(frozen=True)
class Session:
    """What a program was told in all its comparisons.

    Attributes:
        better: comparisons in which one version was called better than the other.
        looked_better: those in which the new one scored higher.
        spent: the levels of all its comparisons together.
        gained: what the program would believe, had it gone by scores: the last version's score
            on the holdout above its true mean.
    """

    better: int
    looked_better: int
    spent: float
    gained: float


def run_session(
    holdout: Holdout,
    rng: np.random.Generator,
    seed: int,
    opening_of: Callable[[int], int] = lambda number: number,
) -> Session:
    """One session of `COMPARISONS` comparisons.

    Args:
        opening_of: the opening at whose level the n-th comparison (from 1) is judged.
    """
    hard = rng.standard_normal(holdout.rows)
    unseen = rng.standard_normal(round(VALIDATION * holdout.rows))
    kept = holdout.version(hard, rng)
    better = looked_better = 0
    spent = 0.0
    for number in range(1, COMPARISONS + 1):
        new = holdout.version(hard, rng)
        on_validation = [holdout.version(unseen, rng).mean() for _ in range(2)]
        decision = decide(
            [Entry("kept", kept, **yearly(100.0)), Entry("new", new, **yearly(100.0))],
            None,
            Terms(
                margin=MARGIN,
                opening=opening_of(number),
                seed=seed * COMPARISONS + number,
                tested_first=("kept", "new")[int(np.argmax(on_validation))],
            ),
        )
        better += decision.pairs[0].call in ("better", "worse")
        looked_better += new.mean() > kept.mean()
        spent += decision.level
        kept = max(kept, new, key=np.mean)
    return Session(better, looked_better, spent, float(kept.mean()) - MEAN)


def run_sessions(
    holdout: Holdout, sessions: int, opening_of: Callable[[int], int] = lambda number: number
) -> list[Session]:
    """Independent sessions."""
    rng = np.random.default_rng([18, holdout.rows, 1])
    return [run_session(holdout, rng, seed, opening_of) for seed in range(sessions)]
