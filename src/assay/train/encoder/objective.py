"""What a model is trained on: its rows, and the loss of some of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from assay.models.device import best_device
from assay.models.embed import SentenceModel

Model = TypeVar("Model", bound=SentenceModel, contravariant=True)


class Objective(Protocol[Model]):
    """A kind of training and its data, as a value."""

    def content(self) -> dict[str, Any]:
        """All that it depends on, JSON-ready; data by their hashes."""

    def open(self, base: Model, body: nn.Module, /) -> Loss:
        """The loss over a copy of the base's model, on the device where it is trained."""


class Loss(nn.Module, ABC):
    """The model, and whatever is trained beside it, as `Trainer` takes one.

    Attributes:
        rows, judged: what is trained on, what validation is measured on; each begins with a
            text and ends with a weight above 0.
        lengths: of the rows; rows of a length are put into one step.
        loss: of the last step.
    """

    rows: Sequence[tuple[Any, ...]]
    judged: Sequence[tuple[Any, ...]]
    lengths: Sequence[int]

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body: Any = body
        self.loss = math.nan

    @abstractmethod
    def collate(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        """Rows as `losses` takes them."""

    @abstractmethod
    def losses(self, batch: Mapping[str, Any]) -> Tensor:
        """The loss of each row, [rows]."""

    def batch(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        """Rows as `forward` takes them."""
        weights = torch.tensor([row[-1] for row in rows], dtype=torch.float32, device=best_device())
        return {"batch": self.collate(rows), "weights": weights}

    def forward(self, batch: Mapping[str, Any], weights: Tensor) -> dict[str, Tensor]:
        """The mean loss of the rows, each by its weight."""
        loss = (self.losses(batch) * weights).sum() / weights.sum()
        self.loss = float(loss.detach())
        return {"loss": loss}

    def own_groups(self) -> list[dict[str, Any]]:
        """What is trained beside the body, as groups of an optimiser."""
        return []

    def features(self, texts: Sequence[str | tuple[str, str]]) -> dict[str, Any]:
        """Tokens of texts, or of pairs of them, as the model itself would make them."""
        prompt = self.body.prompts.get(self.body.default_prompt_name)
        tokens: dict[str, Any] = self.body.preprocess(list(texts), prompt=prompt)
        moved: dict[str, Any] = batch_to_device(tokens, best_device())
        return moved

    def vectors(self, features: Mapping[str, Tensor]) -> Tensor:
        """[texts, dimension] of length 1, by an embedder."""
        return nn.functional.normalize(self.body(dict(features))["sentence_embedding"])
