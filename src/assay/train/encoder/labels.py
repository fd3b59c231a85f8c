"""Texts and their labels: cross-entropy of a linear map over the vectors.

The map is trained beside the embedder. It starts as a logistic regression over the vectors as they
are, so that the first steps already know what separates the labels. Afterwards it is left: whoever
wants a classifier fits one over the trained vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assay.example import Example
from assay.generate.classical import at_least_two, fit_labels
from assay.models.device import best_device
from assay.models.embed import Embedder
from assay.models.lineage import rows_sha256
from assay.train.encoder.objective import Loss

START_STRENGTH = 10.0
"""Of the regression that the map starts as: inverse of the regularisation (scikit-learn's C)."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Rows whose outputs are labels; validation chooses the epoch.

    Attributes:
        rate: highest learning rate of the labels' scores.
    """

    train: Sequence[Example]
    validation: Sequence[Example]
    rate: float = 1e-2

    def content(self) -> dict[str, Any]:
        """The hashes of the rows, see `Objective.content`."""
        return {
            "objective": "labels",
            "train": rows_sha256(self.train),
            "weights": [example.weight for example in self.train],
            "validation": rows_sha256(self.validation),
            "rate": self.rate,
        }

    def open(self, embedder: Embedder, body: nn.Module) -> Loss:
        """The loss over a copy of the embedder's model.

        Raises:
            DataError: train has fewer than two labels.
        """
        return _LabelLoss(self, embedder, body)


class _LabelLoss(Loss):
    """Rows are (text, number of its label, weight)."""

    def __init__(self, data: Labels, embedder: Embedder, body: nn.Module) -> None:
        super().__init__(body)
        labels = at_least_two(data.train)
        number = {label: place for place, label in enumerate(labels)}
        self.rows, self.judged = (
            [(e.input, number[e.output], e.weight) for e in part if e.output in number and e.weight]
            for part in (data.train, data.validation)
        )
        self.lengths = embedder.lengths([row[0] for row in self.rows])
        vectors = embedder.encode([e.input for e in data.train])
        start = fit_labels(vectors.astype("float64"), data.train, labels, START_STRENGTH)
        coefficients, intercept = map(torch.from_numpy, start)
        self.rate = data.rate
        self.head = nn.Linear(coefficients.shape[1], len(coefficients))
        self.head.weight.data.copy_(coefficients)
        self.head.bias.data.copy_(intercept)

    def own_groups(self) -> list[dict[str, Any]]:
        """The labels' scores, at a rate of their own."""
        return [{"params": self.head.parameters(), "lr": self.rate}]

    def collate(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        """Tokens of the texts, and the numbers of their labels."""
        texts, labels, _ = zip(*rows, strict=True)
        return {
            "features": self.features(texts),
            "labels": torch.tensor(labels, device=best_device()),
        }

    def losses(self, batch: Mapping[str, Any]) -> Tensor:
        """Cross-entropy of the label of each row."""
        scores = self.head(self.vectors(batch["features"]))
        return nn.functional.cross_entropy(scores, batch["labels"], reduction="none")
