"""Multinomial logistic regression: learned by scikit-learn, kept and applied as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from assay.models.tensor_blob import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def fit_logistic(
    features: Array | csr_matrix,
    targets: Sequence[int],
    strength: float,
    weights: Sequence[float] | None = None,
    *,
    steps: int = 1000,
) -> tuple[Array, Array]:
    """Coefficients [C, F] and intercept [C], float64; of one class, zeros.

    Args:
        features: [N, F].
        targets: the class of each row, every one of 0 to C - 1 among them.
        strength: inverse of the regularisation (scikit-learn's C).
        weights: of the rows; None: all count alike.
        steps: most of the solver.
    """
    from sklearn.linear_model import LogisticRegression

    if max(targets) == 0:
        return np.zeros((1, features.shape[1])), np.zeros(1)
    model = LogisticRegression(C=strength, max_iter=steps, tol=1e-4)
    model.fit(features, targets, sample_weight=weights)
    coefficients, intercept = model.coef_, model.intercept_
    if len(coefficients) == 1:  # of two classes the second alone; the first one's score is 0
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    return coefficients, intercept


def log_softmax(scores: Array) -> Array:
    """[N, C] natural logarithms of probabilities, float64, of unnormalised ones."""
    scores = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))
