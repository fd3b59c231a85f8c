"""Several labels a row: the answer is a JSON list of those that hold.

One logistic regression for each label, and one probability from which on a label is given.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from assay import json_reader
from assay.errors import DataError
from assay.example import Example
from assay.generate.logistic import fit_logistic
from assay.models.tensor_blob import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

THRESHOLDS = tuple(step / 20 for step in (10, 9, 11, 8, 12, 7, 13, 6, 14, 5, 15, 4, 16, 3, 2, 1))
"""Those that are tried, in this order."""


@dataclass(frozen=True, slots=True)
class Several:
    """Which labels are given.

    Attributes:
        threshold: least probability of a label that is given.
        may_be_empty: no label may be the answer; else the likeliest is always given.
    """

    threshold: float = 0.5
    may_be_empty: bool = False

    def holds(self, chances: Array) -> Array:
        """[N, C] bool, of probabilities [N, C]."""
        found = chances >= self.threshold
        if not self.may_be_empty:
            found[np.arange(len(found)), chances.argmax(axis=1)] = True
        return np.asarray(found)

    def answers(self, labels: Sequence[str], logs: Array) -> list[tuple[str, float]]:
        """The list of each row as JSON, and the natural logarithm of the probability that it is
        right, if labels do not depend on one another.

        Args:
            logs: natural logarithms of the probabilities, [N, C].
        """
        chances = np.exp(logs)
        kept = self.holds(chances)
        others = np.log1p(-np.minimum(chances, 1 - 1e-12))
        sums = np.where(kept, logs, others).sum(axis=1)
        return [
            (as_list([labels[c] for c in row.nonzero()[0]]), float(total))
            for row, total in zip(kept, sums, strict=True)
        ]


def as_list(labels: Sequence[str]) -> str:
    """Labels as an answer: a JSON list."""
    return json.dumps(list(labels), ensure_ascii=False)


def read_list(text: str) -> frozenset[str] | None:
    """The labels of an answer; None where it is no JSON list of texts."""
    try:
        found = json_reader.read(text)
    except ValueError:
        return None
    is_list = isinstance(found, list) and all(isinstance(label, str) for label in found)
    return frozenset(found) if is_list else None


def members(rows: Sequence[Example]) -> tuple[tuple[str, ...], Array]:
    """The labels of rows, sorted, and which row carries which: [N, C] of 0 and 1.

    Raises:
        DataError: an answer is not a list of labels, or there are fewer than two labels.
    """
    lists = [read_list(row.output) for row in rows]
    for row, found in zip(rows, lists, strict=True):
        if found is None:
            raise DataError(
                "the answer is not a list of labels.",
                where=f"example {row.id}",
                fix='Write it as a JSON list: ["one", "another"].',
            )
    labels = tuple(sorted({label for found in lists for label in found or ()}))
    if len(labels) < 2:
        raise DataError(
            "the training examples carry fewer than two labels.",
            fix="A classifier needs examples of at least two labels.",
        )
    carried = [[int(label in (found or ())) for label in labels] for found in lists]
    return labels, np.array(carried)


def fit_each(
    features: Array | csr_matrix, carried: Array, strength: float, weights: Sequence[float]
) -> tuple[Array, Array]:
    """Coefficients [C, F] and intercept [C], float64: each label against all rows without it.

    A label that every row carries has Laplace's estimate of its share.

    Args:
        features: [N, F].
        carried: [N, C] of 0 and 1, each label at least once.
        strength: inverse of the regularisation (scikit-learn's C).
        weights: of the rows.
    """
    coefficients = np.zeros((carried.shape[1], features.shape[1]))
    intercept = np.full(carried.shape[1], np.log(len(carried) + 1.0))
    for place, column in enumerate(carried.T):
        if not column.all():
            found, start = fit_logistic(features, column.tolist(), strength, weights)
            coefficients[place], intercept[place] = found[1], start[1]
    return coefficients, intercept


def log_sigmoid(scores: Array) -> Array:
    """Natural logarithms of the probabilities of scores, of the same shape."""
    return np.asarray(-np.logaddexp(0.0, -scores))


def choose_threshold(
    several: Several, labels: Sequence[str], chances: Array, rows: Sequence[Example]
) -> Several:
    """With the threshold of the best mean F1 of a row's labels; a tie goes to the nearest to 0.5.

    Args:
        chances: probabilities of the labels on the rows, [N, C].
    """
    wanted = [read_list(row.output) or frozenset() for row in rows]

    def score(one: Several) -> float:
        kept = one.holds(chances)
        given = ({labels[c] for c in row.nonzero()[0]} for row in kept)
        return fmean(_f1(*both) for both in zip(given, wanted, strict=True))

    tried = [replace(several, threshold=threshold) for threshold in THRESHOLDS]
    return max(tried, key=score) if rows else tried[0]


def _f1(given: set[str], wanted: frozenset[str]) -> float:
    """As the grader `field-f1` scores lists: 1 of two that are empty."""
    total = len(given) + len(wanted)
    return 2 * len(given & wanted) / total if total else 1.0
