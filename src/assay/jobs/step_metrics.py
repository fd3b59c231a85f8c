"""The figures of every step: kept as events of the job, told as they come, written out as CSV."""

from __future__ import annotations

import csv
import io
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from assay.jobs import queue
from assay.jobs.events import read_events
from assay.jobs.queue import Job
from assay.store.store import Store
from assay.store.tables import FineTuningRow, JobEventRow, now

if TYPE_CHECKING:
    from assay.train.job import StepReport

TRAIN_LOSS, TRAIN_ACCURACY = "train_loss", "train_mean_token_accuracy"
VALID_LOSS, VALID_ACCURACY = "valid_loss", "valid_mean_token_accuracy"
FULL_LOSS, FULL_ACCURACY = "full_valid_loss", "full_valid_mean_token_accuracy"
TRAIN_REWARD, VALID_REWARD = "train_reward_mean", "valid_reward_mean"
TRAIN_TOKENS, VALID_TOKENS = "train_completion_tokens_mean", "valid_completion_tokens_mean"
KL, REPEATED, OTHERS, ROLLOUTS = "kl", "repeated", "other_graders", "rollouts"

Figures = dict[str, Any]

_COLUMNS = {
    "train_loss": TRAIN_LOSS,
    "train_accuracy": TRAIN_ACCURACY,
    "valid_loss": VALID_LOSS,
    "valid_mean_token_accuracy": VALID_ACCURACY,
    "full_valid_loss": FULL_LOSS,
    "full_valid_mean_token_accuracy": FULL_ACCURACY,
}
_OF_REWARDS = {name: name for name in (TRAIN_REWARD, VALID_REWARD, TRAIN_TOKENS, VALID_TOKENS)}


class StepMetrics:
    """The figures of one job so far, those of earlier workers too: none is told twice.

    Args:
        of_rewards: whether the job learns from a grader, so that rewards and lengths of answers are
            kept, and no losses.

    Attributes:
        steps: by step, the figures by their names above; losses in nats per trained token (dpo:
            per pair), accuracies as shares of the trained tokens.
    """

    def __init__(self, store: Store, job: Job, *, of_rewards: bool = False) -> None:
        self._store, self._job = store, job
        self._columns = _OF_REWARDS if of_rewards else _COLUMNS
        self.steps: dict[int, dict[str, float]] = {}
        for event in read_events(store, job.id):
            if event.kind == "metrics" and event.data:
                self._add(event.data["step"], event.data)
        self._began: tuple[float, int] | None = None  # time and step when this process first told

    def record(self, report: StepReport) -> None:
        """A step was done, or all of validation measured; each is kept once.

        Raises:
            JobLostError: the job is another worker's by now.
        """
        said, figures = _rewards(report) if report.reward is not None else _losses(report)
        known, finish = self.steps.get(report.step, {}), None
        if not report.validation:
            finish = self._finish(report.step, report.total_steps)
        if not any(name in known for name in figures):
            self._keep(report.step, report.total_steps, said, figures, finish)

    def _finish(self, step: int, total: int) -> datetime | None:
        """When the last step will probably be done; None at the first that this process tells."""
        if self._began is None:
            self._began = time.monotonic(), step
        began, first = self._began
        left = (total - step) * (time.monotonic() - began) / max(1, step - first)
        return now() + timedelta(seconds=left) if step > first else None

    def csv(self) -> str:
        """One line a step, with the columns of OpenAI's result file first."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["step", *self._columns])
        for step in sorted(self.steps):
            figures = self.steps[step]
            row = [figures.get(name) for name in self._columns.values()]
            writer.writerow([step, *("" if v is None else f"{v:.6g}" for v in row)])
        return text.getvalue()

    def _keep(
        self, step: int, total: int, message: str, figures: Figures, finish: datetime | None
    ) -> None:
        known = {name: value for name, value in figures.items() if value is not None}
        data = {"step": step, "total_steps": total, **known}
        event = JobEventRow(
            job=self._job.id, kind="metrics", message=f"Step {step}/{total}: {message}", data=data
        )
        with queue.as_owner(self._store, self._job) as session:
            session.add(event)
            if finish is not None:
                session.execute(
                    update(FineTuningRow)
                    .where(FineTuningRow.id == self._job.id)
                    .values(finish=finish)
                )
        self._add(step, known)

    def _add(self, step: int, figures: dict[str, Any]) -> None:
        known = {name: figures[name] for name in self._columns.values() if name in figures}
        self.steps.setdefault(step, {}).update(known)


def _losses(report: StepReport) -> tuple[str, Figures]:
    loss, accuracy = report.loss, report.accuracy
    if not report.validation:
        return f"training loss={loss:.4f}", {TRAIN_LOSS: loss, TRAIN_ACCURACY: accuracy}
    figures: Figures = {VALID_LOSS: loss, FULL_LOSS: loss}
    figures |= {VALID_ACCURACY: accuracy, FULL_ACCURACY: accuracy}
    return f"full validation loss={loss:.4f}", figures


def _rewards(report: StepReport) -> tuple[str, Figures]:
    reward, tokens, measured = report.reward, report.answer_tokens, report.measured
    if measured is None:
        figures: Figures = {TRAIN_REWARD: reward, TRAIN_TOKENS: tokens}
        if report.rollouts:
            figures[ROLLOUTS] = [one._asdict() for one in report.rollouts]
        return f"train mean reward={reward:.2f}", figures
    figures = {VALID_REWARD: reward, VALID_TOKENS: tokens, KL: measured.kl}
    figures |= {REPEATED: measured.repeated, OTHERS: measured.others or None}
    return f"full validation mean reward={reward:.2f}", figures
