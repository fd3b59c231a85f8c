"""How probable it is that an answer is right, by how alike two texts are: a logistic curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The probability 1 / (1 + exp(-slope * likeness - intercept)), after Platt (1999)."""

    slope: float
    intercept: float

    def logprob(self, likeness: float) -> float:
        """Natural logarithm of the probability; at most 0."""
        return float(-np.logaddexp(0.0, -(self.slope * likeness + self.intercept)))

    def likeness(self, logprob: float) -> float:
        """The likeness whose probability has this logarithm."""
        return float((-np.log(np.expm1(-logprob)) - self.intercept) / self.slope)


PLAIN = Calibration(1.0, 0.0)
"""Says nothing of right and wrong: likeness can be read back from its probabilities."""


def calibrate(likeness: Sequence[float] | Floats, scores: Sequence[float]) -> Calibration:
    """The curve through scores of 0 to 1, each a share of an answer that was right.

    One right answer at the greatest likeness and one wrong answer at the least are added: no
    probability is 0 or 1 for lack of rows, and more likeness is no worse where nothing is known.
    """
    from sklearn.linear_model import LogisticRegression

    values = np.asarray(likeness, dtype=np.float64)
    right = np.asarray(scores, dtype=np.float64)
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    x = np.concatenate([values, values, [low, high]])[:, None]
    y = np.concatenate([np.ones(len(right)), np.zeros(len(right)), [0, 1]])
    weights = np.concatenate([right, 1 - right, [1, 1]])
    curve = LogisticRegression(C=100.0, max_iter=1000).fit(x, y, sample_weight=weights)
    return Calibration(float(curve.coef_[0, 0]), float(curve.intercept_[0]))
