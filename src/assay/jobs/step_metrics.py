"""The figures of every step: kept as events of the job, told as they come, written out as CSV."""

from __future__ import annotations

import csv
import io
import time
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from assay.jobs import queue
from assay.jobs.queue import Job
from assay.store.store import Store
from assay.store.tables import FineTuningRow, JobEventRow, now

TRAIN_LOSS, TRAIN_ACCURACY = "train_loss", "train_mean_token_accuracy"
VALID_LOSS, VALID_ACCURACY = "valid_loss", "valid_mean_token_accuracy"
FULL_LOSS, FULL_ACCURACY = "full_valid_loss", "full_valid_mean_token_accuracy"

Figures = dict[str, float | None]

_COLUMNS = {
    "train_loss": TRAIN_LOSS,
    "train_accuracy": TRAIN_ACCURACY,
    "valid_loss": VALID_LOSS,
    "valid_mean_token_accuracy": VALID_ACCURACY,
    "full_valid_loss": FULL_LOSS,
    "full_valid_mean_token_accuracy": FULL_ACCURACY,
}


class StepMetrics:
    """The figures of one job so far, those of earlier workers too: none is told twice.

    Attributes:
        steps: by step, the figures by their names above; losses in nats per trained token (dpo:
            per pair), accuracies as shares of the trained tokens.
    """

    def __init__(self, store: Store, job: Job) -> None:
        self._store, self._job = store, job
        self.steps: dict[int, dict[str, float]] = {}
        for event in queue.events(store, job.id):
            if event.kind == "metrics" and event.data:
                self._add(event.data["step"], event.data)
        self._began: tuple[float, int] | None = None  # time and step when this process first told

    def record_training(self, step: int, total: int, loss: float, accuracy: float | None) -> None:
        """A step was done. Kept with the time when the last one will probably be.

        Raises:
            JobLostError: the job is another worker's by now.
        """
        if self._began is None:
            self._began = time.monotonic(), step
        if TRAIN_LOSS in self.steps.get(step, {}):
            return
        began, first = self._began
        left = (total - step) * (time.monotonic() - began) / max(1, step - first)
        figures: Figures = {TRAIN_LOSS: loss, TRAIN_ACCURACY: accuracy}
        finish = now() + timedelta(seconds=left) if step > first else None
        self._keep(step, total, f"training loss={loss:.4f}", figures, finish)

    def record_validation(self, step: int, total: int, loss: float, accuracy: float | None) -> None:
        """Validation was measured after a step, all of it.

        Raises:
            JobLostError: the job is another worker's by now.
        """
        if FULL_LOSS in self.steps.get(step, {}):
            return
        figures: Figures = {VALID_LOSS: loss, FULL_LOSS: loss}
        figures |= {VALID_ACCURACY: accuracy, FULL_ACCURACY: accuracy}
        self._keep(step, total, f"full validation loss={loss:.4f}", figures, None)

    def csv(self) -> str:
        """One line a step, with the columns of OpenAI's result file first."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["step", *_COLUMNS])
        for step in sorted(self.steps):
            figures = self.steps[step]
            row = [figures.get(name) for name in _COLUMNS.values()]
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
        known = {name: figures[name] for name in _COLUMNS.values() if name in figures}
        self.steps.setdefault(step, {}).update(known)
