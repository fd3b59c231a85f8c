"""The result's part on trainings: the loss as it fell."""

from __future__ import annotations

from assay.config.strict import ClosedModel


class CurvePoint(ClosedModel):
    """One point of a training curve."""

    step: int
    epoch: float
    train_loss: float | None = None
    validation_loss: float | None = None


class Curve(ClosedModel):
    """A training curve of one candidate."""

    candidate: str
    points: list[CurvePoint]
    best_step: int | None = None
