"""Questions and the passages that answer them: cross-entropy over the passages of a step.

The loss of a question is -log softmax(s · cos(question, passage))[its own], over its own passage,
passages that look alike to the untrained embedder and are of other documents, and those of the
other questions of the step: Henderson et al. 2017, arXiv:1705.00652, section 4.4, with hard
negatives as in Karpukhin et al. 2020, arXiv:2004.04906; the cosine times s = 20 is that of
sentence-transformers' `MultipleNegativesRankingLoss`. A passage that may answer a question, being
of one of its documents, is not held against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assay.example import json_sha256
from assay.models.device import best_device
from assay.models.embed import Embedder
from assay.train.encoder.objective import Loss

SCALE = 20.0
"""Of the cosines: the inverse of a temperature."""


@dataclass(frozen=True, slots=True)
class PassageText:
    """A passage as the model reads it."""

    document: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the passage that answers it, and hard negatives.

    Attributes:
        negatives: similar passages of other documents.
        documents: names of the documents that answer it; their passages are never negatives.
    """

    text: str
    passage: PassageText
    negatives: tuple[PassageText, ...]
    documents: tuple[str, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions to learn from; those of other documents choose the epoch."""

    train: Sequence[Question]
    validation: Sequence[Question]

    def content(self) -> dict[str, Any]:
        """The hashes of the rows, see `Objective.content`."""
        return {
            "objective": type(self).__name__.lower(),
            "train": json_sha256([asdict(question) for question in self.train]),
            "validation": json_sha256([asdict(question) for question in self.validation]),
        }


@dataclass(frozen=True, slots=True)
class Passages(Questions):
    """What an embedder learns from them: which passage answers which question of a step."""

    def open(self, embedder: Embedder, body: nn.Module) -> Loss:
        """The loss over a copy of the embedder's model."""
        return _PassageLoss(self, body)


class _PassageLoss(Loss):
    """Rows are (text, question, weight)."""

    def __init__(self, data: Passages, body: nn.Module) -> None:
        super().__init__(body)
        self.rows, self.judged = (
            [(question.text, question, question.weight) for question in part if question.weight]
            for part in (data.train, data.validation)
        )
        # Questions of one passage are of one length: sorted, they would meet one another in a step
        # and have nothing to be told apart from.
        self.lengths = [0] * len(self.rows)

    def collate(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        """Tokens of questions and passages; a passage of several questions is embedded once."""
        texts, questions, _ = zip(*rows, strict=True)
        passages = list(dict.fromkeys(p for q in questions for p in (q.passage, *q.negatives)))
        place = {passage: number for number, passage in enumerate(passages)}
        counted = [
            [p == question.passage or p.document not in question.documents for p in passages]
            for question in questions
        ]
        device = best_device()
        return {
            "questions": self.features(texts),
            "passages": self.features([passage.text for passage in passages]),
            "counted": torch.tensor(counted, device=device),
            "own": torch.tensor([place[question.passage] for question in questions], device=device),
        }

    def losses(self, batch: Mapping[str, Any]) -> Tensor:
        """Cross-entropy of the passage of each question."""
        cosines = self.vectors(batch["questions"]) @ self.vectors(batch["passages"]).T
        scores = (SCALE * cosines).masked_fill(~batch["counted"], -torch.inf)
        return nn.functional.cross_entropy(scores, batch["own"], reduction="none")
