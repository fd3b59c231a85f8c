"""The training curve for TensorBoard and MLflow, beside Assay's own log.

    .assay/tracking/tensorboard/<run>/     `tensorboard --logdir .assay/tracking/tensorboard`
    .assay/tracking/mlflow.db              `mlflow ui --backend-store-uri sqlite:///...`

Both are local files; no server is asked and nothing is sent. Every value of a step is written
once: a run that goes on first asks the files how far they are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL

from assay.config import FineTune
from assay.errors import ConfigError
from assay.train.checkpoints import Point
from assay.train.job import OnPoint


class Tracker(Protocol):
    """One place that the curve is written to."""

    def last_step(self, name: str) -> int:
        """The last step that has a value of this name; -1 when there is none."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Values of one step, on disk when this returns."""

    def close(self, *, finished: bool) -> None:
        """Nothing more will come now; not finished: the run was stopped or has failed."""


@contextmanager
def tracking(settings: FineTune, folder: Path, run: str) -> Iterator[OnPoint]:
    """What writes each point it is told to the places that `settings.tracking` names.

    Args:
        folder: of all runs of a project.
        run: name of this one; the same name goes on.

    Raises:
        ConfigError: a package that is needed is not installed.
    """
    names = tuple(dict.fromkeys(settings.tracking))
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(
                f"{name} is set but not installed.",
                where="assay.yaml, fine_tune.tracking",
                fix="Install it with `pip install 'assay[tracking]'`, or leave it out.",
            )
    trackers: list[Tracker] = []
    last: dict[tuple[Tracker, str], int] = {}

    def write(point: Point, rates: Mapping[str, float]) -> None:
        if not trackers:  # opened by the first point: a finished training has none
            trackers.extend(_open(name, settings, folder, run) for name in names)
        values = dict(rates) | {"epoch": point.epoch}
        if point.train_loss is not None:
            values["loss"] = point.train_loss
        if point.validation_loss is not None:
            values["validation_loss"] = point.validation_loss
        if point.score is not None:
            values["score"] = point.score
        for tracker in trackers:
            for name in values:
                if (tracker, name) not in last:
                    last[tracker, name] = tracker.last_step(name)
            new = {name: v for name, v in values.items() if point.step > last[tracker, name]}
            if new:
                tracker.write(point.step, new)
                last.update({(tracker, name): point.step for name in new})

    finished = False
    try:
        yield write
        finished = True
    finally:
        for tracker in trackers:
            tracker.close(finished=finished)


def _open(name: str, settings: FineTune, folder: Path, run: str) -> Tracker:
    if name == "tensorboard":
        return _TensorBoard(folder / "tensorboard" / run)
    return _MLflow(folder / "mlflow.db", run, settings)


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        written = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        tags = written.Tags()["scalars"]
        self._last: dict[str, int] = {
            tag: max(event.step for event in written.Scalars(tag)) for tag in tags
        }
        self._writer: Any = SummaryWriter(str(folder))

    def last_step(self, name: str) -> int:
        return self._last.get(name, -1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, *, finished: bool) -> None:
        self._writer.close()


class _MLflow:
    def __init__(self, database: Path, run: str, settings: FineTune) -> None:
        # Read at import: it would report its use over the network, and log between our own lines.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow import MlflowClient

        database.parent.mkdir(parents=True, exist_ok=True)
        url = URL.create("sqlite", database=str(database.absolute())).render_as_string()
        self._client = MlflowClient(tracking_uri=url)
        known = self._client.get_experiment_by_name("assay")
        experiment = known.experiment_id if known else self._create(database)
        named = f"attributes.run_name = '{run}'"
        found = self._client.search_runs([experiment], filter_string=named, max_results=1)
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            self._run = self._client.create_run(experiment, run_name=run).info.run_id
            for key, value in settings.model_dump(mode="json").items():
                self._client.log_param(self._run, key, value)

    def _create(self, database: Path) -> str:
        artifacts = database.with_name("mlflow").absolute().as_uri()
        return str(self._client.create_experiment("assay", artifact_location=artifacts))

    def last_step(self, name: str) -> int:
        history = self._client.get_metric_history(self._run, name)
        return max((metric.step for metric in history), default=-1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, status="FINISHED" if finished else "KILLED")
