"""Trainings of a workspace as pages look at them: their figures step by step, and when they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from markupsafe import Markup

from assay.compare.curve_section import Curve
from assay.compare.report import step_charts
from assay.jobs import fine_tuning, queue
from assay.jobs.events import JobEvent, read_events
from assay.jobs.fine_tuning import CHECK, TRAIN, FineTuning
from assay.jobs.queue import Job
from assay.jobs.step_metrics import (
    FULL_LOSS,
    KL,
    OTHERS,
    REPEATED,
    ROLLOUTS,
    TRAIN_LOSS,
    TRAIN_REWARD,
    TRAIN_TOKENS,
    VALID_REWARD,
    VALID_TOKENS,
)
from assay.project.workspace import Workspace

KINDS = (CHECK, TRAIN)
"""Of fine-tunings that were asked for through the API."""
_REWARDS = {
    "reward": TRAIN_REWARD,
    "valid_reward": VALID_REWARD,
    "answer_tokens": TRAIN_TOKENS,
    "valid_tokens": VALID_TOKENS,
    "kl": KL,
    "repeated": REPEATED,
}
MOST_POINTS = 400
"""Of a drawn curve; of more, every n-th is drawn, and every validation."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A training's figures so far.

    Attributes:
        points: step, train_loss and validation_loss (nats a trained token; None where not
            measured at the step), in the order of the steps.
        rewards: of a training that learns from a grader, in their order: step, reward,
            valid_reward, answer_tokens, valid_tokens, kl, repeated (None where not measured at the
            step) and others (by name, on validation).
        rollouts: the newest answers that are known, each with row, answer and reward; and of which
            step.
        last: key of the last event that was read; `look` goes on from it.
        total: steps in all, once known.
        said: when the job has said what, the oldest first.
    """

    points: tuple[dict[str, Any], ...] = ()
    rewards: tuple[dict[str, Any], ...] = ()
    rollouts: tuple[int, tuple[dict[str, Any], ...]] = (0, ())
    last: int = 0
    total: int | None = None
    said: tuple[tuple[datetime, str], ...] = ()

    @property
    def best_step(self) -> int | None:
        """Where the validation loss was lowest, or the reward on validation highest."""
        rewarded = [p for p in self.rewards if p["valid_reward"] is not None]
        if rewarded:
            best: int = max(rewarded, key=lambda p: p["valid_reward"])["step"]
            return best
        measured = [p for p in self.points if p["validation_loss"] is not None]
        if not measured:
            return None
        step: int = min(measured, key=lambda p: p["validation_loss"])["step"]
        return step

    def thin(self) -> Figures:
        """As many points as can be told apart."""
        return replace(
            self,
            points=_thin(self.points, "validation_loss"),
            rewards=_thin(self.rewards, "valid_reward"),
        )


def look(workspace: Workspace, id: str, before: Figures) -> tuple[Job, Figures, FineTuning | None]:
    """A job as it stands, its figures with what has come since `before`, and its request.

    The last is None where the job is no fine-tuning.

    Raises:
        NotFoundError: there is no such job.
    """
    job = queue.read(workspace.store, id)  # before its events: what it did last is among them
    figures = _with(before, read_events(workspace.store, id, after=before.last))
    if job.kind not in KINDS:
        return job, figures, None
    return job, figures, fine_tuning.find(workspace.store, job.project, id)


def loss_chart(figures: Figures) -> Markup:
    """Losses on train and validation by step, and the step that was kept."""
    known = {"points": figures.thin().points, "best_step": figures.best_step}
    return step_charts.training(Curve.model_validate({"candidate": "training", **known}))


def reward_charts(figures: Figures) -> tuple[Markup, Markup, Markup]:
    """Rewards, lengths of answers and KL by step, of a training that learns from a grader."""
    points = figures.thin().rewards
    return (
        step_charts.rewards(points, figures.best_step),
        step_charts.lengths(points),
        step_charts.divergence(points),
    )


def _thin(points: tuple[dict[str, Any], ...], measured: str) -> tuple[dict[str, Any], ...]:
    """Every n-th, and every one that was measured on validation."""
    every = max(1, len(points) // MOST_POINTS)
    return tuple(
        point for i, point in enumerate(points) if i % every == 0 or point[measured] is not None
    )


def _with(before: Figures, events: Sequence[JobEvent]) -> Figures:
    points = {point["step"]: point for point in before.points}
    rewards = {point["step"]: point for point in before.rewards}
    total, rollouts = before.total, before.rollouts
    for event in events:
        if event.kind != "metrics" or not event.data or "step" not in event.data:
            continue
        step = event.data["step"]
        total = event.data.get("total_steps", total)
        if ROLLOUTS in event.data:
            rollouts = step, tuple(event.data[ROLLOUTS])
        if TRAIN_REWARD in event.data or VALID_REWARD in event.data:
            new = {name: event.data.get(of) for name, of in _REWARDS.items()}
            new |= {"step": step, "others": event.data.get(OTHERS) or {}}
            known = rewards.get(step, {})
            rewards[step] = new | {n: v for n, v in known.items() if v is not None and v != {}}
            continue
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
        rewards=tuple(rewards[step] for step in sorted(rewards)),
        rollouts=rollouts,
        last=last,
        total=total,
        said=before.said + said,
    )
