"""A router that has learned, from the user's own examples, which arm is right for which input.

It sees the vector of an input and predicts, for the cheap and for the strong arm, the chance of a
right answer. Kept as one safetensors blob with a JSON document in its metadata; nothing is pickled,
and a router that was read back predicts bit for bit what it did before.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from assay.models.embed import STARTER
from assay.models.tensor_blob import dump_tensors, load_tensors

Floats = np.ndarray[Any, np.dtype[Any]]
FORMAT = "assay-router-1"


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """How the router predicts.

    Attributes:
        kind: `nearest`: the mean score of the most similar examples; `logistic`: logistic
            regression on the vector.
        k: neighbours that are looked at.
        strength: inverse of the regularisation (scikit-learn's C).
    """

    kind: Literal["nearest", "logistic"]
    k: int = 0
    strength: float = 0.0

    def __str__(self) -> str:
        if self.kind == "nearest":
            return f"{self.k} nearest neighbours"
        return f"logistic regression, C={self.strength:g}"


GRID: tuple[RouterSettings, ...] = (
    RouterSettings("nearest", k=10),
    RouterSettings("nearest", k=40),
    RouterSettings("logistic", strength=0.1),
    RouterSettings("logistic", strength=1.0),
    RouterSettings("logistic", strength=10.0),
)
"""Settings to choose from."""


@dataclass(frozen=True, eq=False)
class RouterModel:
    """What a router has learned; the first arm is the cheap one.

    Attributes:
        embedder: the model that makes vectors [N, D] of inputs.
        rows: hashes of the examples that it was made of.
        tensors: `vectors` [N, D] and `scores` [N, 2], or `coefficients` [2, D] and `intercept` [2].
    """

    settings: RouterSettings
    tensors: dict[str, Floats] = field(default_factory=dict)
    embedder: str = STARTER
    rows: tuple[str, ...] = ()

    def chances(self, vectors: Floats) -> Floats:
        """[N, 2]: the chance that cheap and strong arm are right."""
        if self.settings.kind == "nearest":
            known = self.tensors["vectors"]
            k = min(self.settings.k, len(known))
            order = np.argsort(-(vectors @ known.T), axis=1, kind="stable")[:, :k]
            near: Floats = self.tensors["scores"][order].mean(axis=1)
            return near
        logits = vectors.astype(np.float64) @ self.tensors["coefficients"].T
        chances: Floats = 1.0 / (1.0 + np.exp(-(logits + self.tensors["intercept"])))
        return chances

    def gain(self, vectors: Floats) -> Floats:
        """[N]: what the strong arm is predicted to be ahead by, -1 to 1."""
        chances = self.chances(vectors)
        ahead: Floats = chances[:, 1] - chances[:, 0]
        return ahead


def fit_router(
    vectors: Floats,
    scores: Floats,
    settings: RouterSettings,
    *,
    embedder: str = STARTER,
    rows: tuple[str, ...] = (),
) -> RouterModel:
    """Learn from vectors [N, D] of inputs and the two arms' scores [N, 2], 0 to 1, on them.

    Args:
        rows: hashes of the examples, to be told from a holdout's later.
    """
    if settings.kind == "nearest":
        tensors: dict[str, Floats] = {
            "vectors": vectors.astype(np.float32),
            "scores": scores.astype(np.float64),
        }
        return RouterModel(settings, tensors, embedder, rows)
    fitted = [_logistic(vectors, scores[:, arm], settings.strength) for arm in (0, 1)]
    return RouterModel(
        settings,
        {
            "coefficients": np.stack([coefficients for coefficients, _ in fitted]),
            "intercept": np.array([intercept for _, intercept in fitted]),
        },
        embedder,
        rows,
    )


def _logistic(vectors: Floats, scores: Floats, strength: float) -> tuple[Floats, float]:
    """Coefficients [D] and intercept; a score between 0 and 1 counts in part for either side."""
    from sklearn.linear_model import LogisticRegression

    if scores.min() >= 1.0 or scores.max() <= 0.0:  # one side only: its rate, without the vector
        rate = (scores.sum() + 1.0) / (len(scores) + 2.0)
        return np.zeros(vectors.shape[1]), float(np.log(rate / (1.0 - rate)))
    both = np.concatenate([vectors, vectors]).astype(np.float64)
    sides = np.repeat([1, 0], len(scores))
    weights = np.concatenate([scores, 1.0 - scores])
    kept = weights > 0
    model = LogisticRegression(C=strength, max_iter=1000)
    model.fit(both[kept], sides[kept], sample_weight=weights[kept])
    return model.coef_[0].astype(np.float64), float(model.intercept_[0])


def out_of_fold(vectors: Floats, scores: Floats, settings: RouterSettings, folds: Floats) -> Floats:
    """[N]: gains predicted for each example by a router that has not seen its fold.

    Args:
        folds: [N], the fold of each example; a group's examples share one. -1: always learned
            from, and never predicted (nan).
    """
    gains = np.full(len(folds), np.nan)
    for fold in np.unique(folds[folds >= 0]):
        held = folds == fold
        router = fit_router(vectors[~held], scores[~held], settings)
        gains[held] = router.gain(vectors[held])
    return gains


def dump_router(router: RouterModel) -> bytes:
    """A router as a blob, see `dump_tensors`."""
    document = {
        "embedder": router.embedder,
        "settings": asdict(router.settings),
        "rows": router.rows,
    }
    return dump_tensors(FORMAT, document, router.tensors)


def load_router(blob: bytes) -> RouterModel:
    """The inverse of `dump_router`.

    Raises:
        ModelError: the blob is none, or is damaged.
    """

    def parse(document: dict[str, Any], tensors: dict[str, Floats]) -> RouterModel:
        settings = RouterSettings(**document["settings"])
        needed = (
            {"vectors", "scores"} if settings.kind == "nearest" else {"coefficients", "intercept"}
        )
        if set(tensors) != needed:
            raise ValueError("its tensors are not those of a router")
        return RouterModel(settings, tensors, document["embedder"], tuple(document["rows"]))

    return load_tensors(blob, FORMAT, "router", parse)
