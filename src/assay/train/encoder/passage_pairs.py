"""Questions beside passages that answer them or do not: binary cross-entropy of each pair.

The score of a cross-encoder is the log-odds that the passage answers the question, as in Nogueira
and Cho 2019, arXiv:1901.04085. A question makes one right pair, and a wrong one of each negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assay.models.device import best_device
from assay.models.embed import Reranker
from assay.train.encoder.objective import Loss
from assay.train.encoder.passages import Question, Questions


@dataclass(frozen=True, slots=True)
class PassagePairs(Questions):
    """What a cross-encoder learns from questions: which of their passages answers them."""

    def open(self, reranker: Reranker, body: nn.Module) -> Loss:
        """The loss over a copy of the cross-encoder's model."""
        return _PassagePairLoss(self, body)


class _PassagePairLoss(Loss):
    """Rows are (passage, question, whether it answers, weight)."""

    def __init__(self, data: PassagePairs, body: nn.Module) -> None:
        super().__init__(body)
        self.rows, self.judged = (
            [pair for question in part if question.weight for pair in _pairs_of(question)]
            for part in (data.train, data.validation)
        )
        self.lengths = [len(passage) + len(question) for passage, question, *_ in self.rows]

    def collate(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        """Tokens of the pairs, and which of them are right."""
        return {
            "features": self.features([(question, passage) for passage, question, *_ in rows]),
            "right": torch.tensor([float(row[2]) for row in rows], device=best_device()),
        }

    def losses(self, batch: Mapping[str, Any]) -> Tensor:
        """Binary cross-entropy of each pair."""
        scores = self.body(dict(batch["features"]))["scores"].view(-1)
        return nn.functional.binary_cross_entropy_with_logits(
            scores, batch["right"], reduction="none"
        )


def _pairs_of(question: Question) -> list[tuple[str, str, bool, float]]:
    return [
        (passage.text, question.text, passage is question.passage, question.weight)
        for passage in (question.passage, *question.negatives)
    ]
