"""Trainings of a workspace as pages look at them: their figures step by step, and when they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from assay.jobs import fine_tuning, queue
from assay.jobs.fine_tuning import CHECK, TRAIN, FineTuning
from assay.jobs.queue import Job, JobEvent
from assay.jobs.step_metrics import FULL_LOSS, TRAIN_LOSS
from assay.project.workspace import Workspace

KINDS = (CHECK, TRAIN)
"""Of fine-tunings that were asked for through the API."""
MOST_POINTS = 400
"""Of a drawn curve; of more, every n-th is drawn, and every validation."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A training's figures so far.

    Attributes:
        points: step, train_loss and validation_loss (nats a trained token; None where not
            measured at the step), in the order of the steps.
        last: key of the last event that was read; `look` goes on from it.
        total: steps in all, once known.
        said: when the job has said what, the oldest first.
    """

    points: tuple[dict[str, Any], ...] = ()
    last: int = 0
    total: int | None = None
    said: tuple[tuple[datetime, str], ...] = ()

    @property
    def best_step(self) -> int | None:
        """Where the validation loss was lowest."""
        measured = [p for p in self.points if p["validation_loss"] is not None]
        if not measured:
            return None
        step: int = min(measured, key=lambda p: p["validation_loss"])["step"]
        return step

    def thin(self) -> list[dict[str, Any]]:
        """As many points as can be told apart."""
        every = max(1, len(self.points) // MOST_POINTS)
        return [
            point
            for i, point in enumerate(self.points)
            if i % every == 0 or point["validation_loss"] is not None
        ]


def look(workspace: Workspace, id: str, before: Figures) -> tuple[Job, Figures, FineTuning | None]:
    """A job as it stands, its figures with what has come since `before`, and its request.

    The last is None where the job is no fine-tuning.

    Raises:
        NotFoundError: there is no such job.
    """
    job = queue.read(workspace.store, id)  # before its events: what it did last is among them
    figures = _with(before, queue.events(workspace.store, id, after=before.last))
    if job.kind not in KINDS:
        return job, figures, None
    return job, figures, fine_tuning.find(workspace.store, job.project, id)


def _with(before: Figures, events: Sequence[JobEvent]) -> Figures:
    points = {point["step"]: point for point in before.points}
    total = before.total
    for event in events:
        if event.kind != "metrics" or not event.data or "step" not in event.data:
            continue
        step = event.data["step"]
        total = event.data.get("total_steps", total)
        point = {
            "step": step,
            "epoch": 0.0,
            "train_loss": event.data.get(TRAIN_LOSS),
            "validation_loss": event.data.get(FULL_LOSS),
        }
        known = points.get(step, {})
        points[step] = {**point, **{n: v for n, v in known.items() if v is not None}}
    last = events[-1].key if events else before.last
    said = tuple((event.at, event.message) for event in events if event.kind != "metrics")
    return replace(
        before,
        points=tuple(points[step] for step in sorted(points)),
        last=last,
        total=total,
        said=before.said + said,
    )
