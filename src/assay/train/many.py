"""Several trainings at once, each of them whole in a worker (`assay.place.workers`).

    train_many(jobs, workers, ended)

What is trained is what this process would train with as many threads, equal to the bit. A worker
that reaches a job's folder works there, so that what died or was stopped goes on from its
checkpoint; another one works in a folder of its own, and sends what it has made.
"""

from __future__ import annotations

import io
import math
import secrets
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from assay.config import CONFIG_FILE, FineTune, TrainingSettings
from assay.errors import ConfigError, DataError, ModelError
from assay.models.load import LoadedModel
from assay.place.kept import keep
from assay.place.processes import on_this_machine
from assay.place.scratch import scratch_folder
from assay.place.workers import Tell, Workers
from assay.progress import Task
from assay.store.files import one_at_a_time
from assay.train import choices as chosen
from assay.train.checkpoints import Point
from assay.train.device import Compute
from assay.train.estimate import bytes_of, check_memory
from assay.train.job import TrainingJob
from assay.train.methods import registry
from assay.train.methods.identity import find_same, unknown_elsewhere
from assay.train.methods.spec import MethodSpec
from assay.train.sequences import Unit
from assay.train.session import ADAPTER, RESULT, TrainResult, train_by_method
from assay.train.shared_base import SharedBase

_MARK = "place.txt"
_TRAINING = "training"
"""Label of the task that tells the steps of a training."""

OnEnd = Callable[[int, TrainResult | Exception], None]


@dataclass(frozen=True, slots=True)
class PointEvent:
    """What a training tells its listener (`OnPoint`)."""

    point: Point
    rates: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StepEvent:
    """How many steps a training has done."""

    steps: float


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """A finished training.

    Attributes:
        files: its folder as a tar, where that is not the job's own.
    """

    result: TrainResult
    files: bytes | None


@dataclass(frozen=True, slots=True)
class TrainingWork:
    """A job without what belongs to the process that has made it.

    Attributes:
        base: that was loaded there.
        folder: of the job there.
        mark: what a file in it says, by which it is known again.
        choices: the text of what was chosen there (`assay.train.choices`).
        method: sha256 of the code of the training method; None of Assay's own.
        beside: how many trainings share a machine, this one included.
        kept_bytes: of the base's weights.
    """

    base: SharedBase
    train: Sequence[Unit]
    validation: Sequence[Unit]
    settings: FineTune
    compute: Compute | None
    checkpoint_seconds: float
    folder: str
    mark: str
    choices: str
    method: str | None
    beside: int
    kept_bytes: int

    @classmethod
    def of(cls, job: TrainingJob, processes: int, held: int = 0) -> TrainingWork:
        """Of a job, for one of so many workers.

        Args:
            held: bytes that workers of this machine keep already.

        Raises:
            ConfigError: workers cannot train it, or not so many at once.
            DataError, ModelError: it cannot be trained.
        """
        check_settings(job.settings, job.method)
        check_device(job.loaded)
        job = job.validate()
        loaded = job.loaded
        said = "Another process is running this training; waiting for it to finish."
        with one_at_a_time(job.folder / "lock", lambda: job.progress.say(said)):
            choices = chosen.choose(job)
        here = on_this_machine(processes)
        check_memory(
            loaded.model,
            job.train,
            choices.settle(job.settings),
            choices.compute,
            here,
            copies=here,
            setting="workers",
            held=held,
        )
        mark = secrets.token_hex(16)
        (job.folder / _MARK).write_text(mark, encoding="ascii")
        return cls(
            SharedBase.of(loaded),
            job.train,
            job.validation,
            job.settings,
            job.compute,
            job.checkpoint_seconds,
            str(job.folder.resolve()),
            mark,
            (job.folder / chosen.FILE).read_text("utf-8"),
            job.method_sha256,
            on_this_machine(job.beside),
            bytes_of(loaded.model),
        )

    def run(self, tell: Tell) -> WorkerResult:
        """In a worker: train, or go on, to the end."""

        def on_point(point: Point, rates: Mapping[str, float]) -> None:
            tell(PointEvent(point, dict(rates)))

        find_same(self.settings.method, self.method)
        with self._open_folder() as (folder, is_own):
            result = train_by_method(
                TrainingJob(
                    keep(self.base, self.base.load),
                    self.train,
                    self.validation,
                    self.settings,
                    folder,
                    _WorkerProgress(tell),
                    self.compute,
                    self.checkpoint_seconds,
                    on_point,
                    beside=self.beside,
                )
            )
            return WorkerResult(result, None if is_own else _pack(folder))

    @contextmanager
    def _open_folder(self) -> Iterator[tuple[Path, bool]]:
        """The job's folder where it is reached from here, else one that goes with the block."""
        own = Path(self.folder)
        try:
            is_own = (own / _MARK).read_text("ascii") == self.mark
        except (OSError, ValueError):
            is_own = False
        if is_own:
            yield own, True
            return
        with scratch_folder("training") as made:
            (made / chosen.FILE).write_text(self.choices, encoding="utf-8")
            yield made, False


def train_many(jobs: Sequence[TrainingJob], workers: Workers, ended: OnEnd) -> None:
    """Train each job in a worker; they begin in their order, and end as they may.

    Args:
        jobs: of one progress; their `on_point` are called as those of a training here.
        ended: called with the index of a job and its result, or with the exception that it has
            raised, or its `on_point` has, or with which it is refused.

    Raises:
        ConfigError, WorkerLostError: as `Workers.run`, and as `TrainingWork.of`.
        KeyboardInterrupt: stopped by the user; what is trained again goes on.
    """
    at_once = min(workers.count, len(jobs))
    held = workers.held(on_this_machine(at_once))
    sent: list[int] = []
    works: list[TrainingWork] = []
    try:
        for index, job in enumerate(jobs):
            try:
                works.append(TrainingWork.of(job, at_once, held))
                sent.append(index)
            except (DataError, ModelError) as refused:
                ended(index, refused)
        _train_sent(
            [jobs[index] for index in sent],
            works,
            workers,
            lambda index, outcome: ended(sent[index], outcome),
        )
    finally:
        for job in jobs:
            (job.folder / _MARK).unlink(missing_ok=True)


def _train_sent(
    jobs: Sequence[TrainingJob], works: Sequence[TrainingWork], workers: Workers, ended: OnEnd
) -> None:
    if not jobs:
        return
    at_once = min(workers.count, len(jobs))
    steps = [
        job.settings.epochs * math.ceil(len(work.train) / job.settings.rows_per_step)
        for job, work in zip(jobs, works, strict=True)
    ]
    label = f"{len(jobs)} trainings, {at_once} at once" if len(jobs) > 1 else _TRAINING
    with jobs[0].progress.task(label, sum(steps), "steps") as bar:
        done = [0.0] * len(jobs)

        def reach(index: int, step: float) -> None:
            if step > done[index]:
                bar.advance(step - done[index])
                done[index] = step

        def told(index: int, event: object) -> None:
            on_point = jobs[index].on_point
            if isinstance(event, StepEvent):
                reach(index, event.steps)
            elif isinstance(event, PointEvent) and on_point is not None:
                on_point(event.point, event.rates)

        def end(index: int, outcome: WorkerResult | Exception) -> None:
            folder = jobs[index].folder
            reach(index, steps[index])  # stopped early, perhaps
            if isinstance(outcome, Exception):
                ended(index, outcome)
                return
            if outcome.files is not None:
                _unpack(outcome.files, folder)
            ended(index, replace(outcome.result, adapter=folder / ADAPTER))

        workers.run(works, told, end)


def check_settings(settings: TrainingSettings, own_method: MethodSpec | None) -> None:
    """Refuse what workers cannot train, whatever the model.

    Args:
        own_method: see `TrainingJob.method`.

    Raises:
        ConfigError: rows are graded, the method learns from graders, or there is such a method.
    """
    if own_method is not None:
        raise unknown_elsewhere(own_method)
    if registry.find(settings.method).reinforces:
        raise ConfigError(
            "workers cannot learn from graders: these are in this process.",
            where=f"{CONFIG_FILE}, fine_tune.method",
            fix="Train with `--on here`.",
        )
    if settings.graded_rows:
        raise ConfigError(
            "workers cannot grade rows after each epoch: the graders are in this process.",
            where="assay.yaml, fine_tune.graded_rows",
            fix="Set it to 0, or train with `--on here`.",
        )


def check_device(loaded: LoadedModel) -> None:
    """Refuse a model that workers cannot train.

    Raises:
        ConfigError: it is on a GPU.
    """
    if loaded.model.device.type != "cpu":
        raise ConfigError(
            "workers train on processors only so far, and this model is on a GPU.",
            where="assay.yaml, place",
            fix="Train with `--on here`.",
        )


class _WorkerProgress:
    """The progress of a training in a worker: its steps are told, all else is not."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        yield _Steps(self._tell, told=label == _TRAINING)

    def say(self, line: str) -> None:
        """Who has sent the work tells what has become of it."""


class _Steps:
    def __init__(self, tell: Tell, *, told: bool) -> None:
        self._tell, self._told, self._done = tell, told, 0.0

    def advance(self, amount: float = 1, **info: object) -> None:
        self._done += amount
        self._tell(StepEvent(self._done if self._told else 0.0))


def _pack(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in (chosen.FILE, ADAPTER, RESULT):
            tar.add(folder / name, name)
    return packed.getvalue()


def _unpack(files: bytes, folder: Path) -> None:
    """The result last: what is there without it is not taken for a finished training."""
    with tarfile.open(fileobj=io.BytesIO(files)) as tar:
        tar.extractall(folder, filter="data")
