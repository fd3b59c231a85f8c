"""The training curve for TensorBoard, MLflow and Weights & Biases, beside Assay's own log.

    .assay/tracking/tensorboard/<run>/     `tensorboard --logdir .assay/tracking/tensorboard`
    .assay/tracking/mlflow.db              `mlflow ui --backend-store-uri sqlite:///...`

These are local files; `mlflow-server` and `wandb` send the curve, the name of the run and the
settings but for the prompt to a server; no row is sent. Every value of a step is written once: a
run that goes on first asks how far it was written. A server that fails is left alone for the rest
of the run, and a later one brings what it lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from assay.config import CONFIG_FILE, FineTune
from assay.errors import ConfigError, first_line
from assay.progress import SILENT, Progress
from assay.train.checkpoints import Point
from assay.train.job import OnPoint
from assay.train.mlflow_tracking import MLflowTracker, check_address
from assay.train.wandb_tracking import WandbTracker

_PACKAGES = {"mlflow-server": "mlflow"}
_REMOTE = ("mlflow-server", "wandb")
_PRIVATE = {"system_prompt", "tracking"}
_LOGIN = re.compile(r"//[^/\s]*@")


class Tracker(Protocol):
    """One place that the curve is written to."""

    def last_step(self, name: str) -> int:
        """The last step that has a value of this name; -1 when there is none."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Values of one step, on disk or at the server when this returns."""

    def close(self, *, finished: bool) -> None:
        """Nothing more will come now; not finished: the run was stopped or has failed."""


@contextmanager
def tracking(
    settings: FineTune, folder: Path, run: str, progress: Progress = SILENT
) -> Iterator[OnPoint]:
    """What writes each point it is told to the places that `settings.tracking` names.

    Args:
        folder: of all runs of a project.
        run: name of this one; the same name goes on.
        progress: is told of a server that fails.

    Raises:
        ConfigError: a package that is needed is not installed, or a server is not named.
    """
    names = tuple(dict.fromkeys(settings.tracking))
    for name in names:
        _check(name)
    trackers = [_LazyTracker(name, settings, folder, run, progress) for name in names]

    def write(point: Point, rates: Mapping[str, float]) -> None:
        values = dict(rates) | {"epoch": point.epoch}
        measured = {
            "loss": point.train_loss,
            "validation_loss": point.validation_loss,
            "score": point.score,
        }
        values |= {name: value for name, value in measured.items() if value is not None}
        for tracker in trackers:
            tracker.write(point.step, values)

    finished = False
    try:
        yield write
        finished = True
    finally:
        for tracker in trackers:
            tracker.close(finished=finished)


class _LazyTracker:
    """A tracker that is opened by the first point, as a finished training has none."""

    def __init__(
        self, name: str, settings: FineTune, folder: Path, run: str, progress: Progress
    ) -> None:
        self._name, self._progress = name, progress
        self._arguments = name, settings, folder, run
        self._tracker: Tracker | None = None
        self._last: dict[str, int] = {}
        self._failed = False

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """What is new of the values of one step."""
        if self._failed:
            return
        with self._surviving():
            if self._tracker is None:
                self._tracker = _open(*self._arguments)
            for name in values:
                if name not in self._last:
                    self._last[name] = self._tracker.last_step(name)
            new = {name: value for name, value in values.items() if step > self._last[name]}
            if new:
                self._tracker.write(step, new)
                self._last.update(dict.fromkeys(new, step))

    def close(self, *, finished: bool) -> None:
        """See `Tracker`."""
        if self._failed or self._tracker is None:
            return
        with self._surviving():
            self._tracker.close(finished=finished)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of a client library: a training does not end for its curve
            if self._name not in _REMOTE:
                raise
            self._failed = True
            self._progress.say(
                f"{self._name} takes no values ({_LOGIN.sub('//', first_line(error))}). "
                "Training goes on without it."
            )


def _check(name: str) -> None:
    package = _PACKAGES.get(name, name)
    if find_spec(package) is None:
        extra = "'assay[wandb]'" if name == "wandb" else "'assay[tracking]'"
        raise ConfigError(
            f"{package} is set but not installed.",
            where=f"{CONFIG_FILE}, fine_tune.tracking",
            fix=f"Install it with `pip install {extra}`, or leave it out.",
        )
    if name == "mlflow-server":
        check_address()


def _open(name: str, settings: FineTune, folder: Path, run: str) -> Tracker:
    if name == "tensorboard":
        return _TensorBoard(folder / "tensorboard" / run)
    shared = settings.model_dump(mode="json", exclude=_PRIVATE)
    if name == "wandb":
        return WandbTracker(folder, run, shared)
    if name == "mlflow-server":
        return MLflowTracker.of_server(run, shared)
    return MLflowTracker.local(folder / "mlflow.db", run, shared)


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
