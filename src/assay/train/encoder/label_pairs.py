"""Texts beside others of their label and of other labels: the cosine of each pair.

The loss of a pair is the squared difference between the cosine of its vectors and 1 if they have
one label, 0 if not: SetFit, Tunstall et al. 2022, arXiv:2209.11055, section 3, whose
implementation takes sentence-transformers' `CosineSimilarityLoss`. A label of one row has pairs,
too: the row beside itself, of which dropout makes two vectors.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn

from assay.example import Example
from assay.generate.classical import at_least_two
from assay.models.device import best_device
from assay.models.embed import Embedder
from assay.models.lineage import rows_sha256
from assay.train.encoder.objective import Loss

Pair = tuple[str, str, float, float]


@dataclass(frozen=True, slots=True)
class LabelPairs:
    """Rows whose outputs are labels, each beside `each` training rows of its own label and as many
    of others, drawn by `seed`; where there are fewer, they are taken several times.

    Validation rows are put beside `judged_each` training rows of both kinds, for a classifier over
    the vectors compares them with these. Those of a label that training rows lack are left out.
    """

    train: Sequence[Example]
    validation: Sequence[Example]
    each: int
    judged_each: int
    seed: int = 0

    def content(self) -> dict[str, Any]:
        """The hashes of the rows, see `Objective.content`."""
        return {
            "objective": "label-pairs",
            "train": rows_sha256(self.train),
            "validation": rows_sha256(self.validation),
            "weights": [example.weight for example in (*self.train, *self.validation)],
            "each": [self.each, self.judged_each],
            "seed": self.seed,
        }

    def open(self, embedder: Embedder, body: nn.Module) -> Loss:
        """The loss over a copy of the embedder's model.

        Raises:
            DataError: train has fewer than two labels.
        """
        return _LabelPairLoss(self, embedder, body)


class _LabelPairLoss(Loss):
    """Rows are (text, other text, 1 if they have one label, else 0, weight)."""

    def __init__(self, data: LabelPairs, embedder: Embedder, body: nn.Module) -> None:
        super().__init__(body)
        train, validation = (
            [example for example in part if example.weight]
            for part in (data.train, data.validation)
        )
        if train:
            at_least_two(train)
        draw = random.Random(data.seed)
        partners = _Partners(train)
        self.rows, self.judged = (
            [pair for row in part for pair in partners.pairs_of(row, each, draw)]
            for part, each in ((train, data.each), (validation, data.judged_each))
        )
        texts = [row.input for row in train]
        length = dict(zip(texts, embedder.lengths(texts), strict=True))
        self.lengths = [length[text] + length[other] for text, other, *_ in self.rows]

    def collate(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        """Tokens of the texts and of those beside them, and what their cosine should be."""
        texts, others, same, _ = zip(*rows, strict=True)
        return {
            "texts": self.features(texts),
            "others": self.features(others),
            "same": torch.tensor(same, device=best_device()),
        }

    def losses(self, batch: Mapping[str, Any]) -> Tensor:
        """Squared error of the cosine of each pair."""
        cosines = (self.vectors(batch["texts"]) * self.vectors(batch["others"])).sum(dim=1)
        return nn.functional.mse_loss(cosines, batch["same"], reduction="none")


class _Partners:
    """Training rows by label, to be put beside others."""

    def __init__(self, rows: Sequence[Example]) -> None:
        self.rows = sorted(rows, key=lambda row: row.output)
        labels = [row.output for row in self.rows]
        self.places = {
            label: range(bisect_left(labels, label), bisect_right(labels, label))
            for label in set(labels)
        }

    def pairs_of(self, row: Example, each: int, draw: random.Random) -> Iterator[Pair]:
        """A row beside `each` of its label and `each` of others; none if its label is new."""
        own = self.places.get(row.output)
        if own is None:
            return
        for same, count in ((1.0, len(own)), (0.0, len(self.rows) - len(own))):
            drawn = draw.sample(range(count), min(each, count))
            for number in islice(cycle(drawn), each):
                place = number + own.start if same else number + (number >= own.start) * len(own)
                other = self.rows[place]
                yield row.input, other.input, same, row.weight * other.weight
