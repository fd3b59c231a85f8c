"""How long a comparison will take here and now: measured before it, corrected while it runs.

pace = measure_pace()                          # how much of the processors there is now
told = opened.estimate(pace=pace)
forecast = Forecast(terminal, told)            # says so where it turns out otherwise
opened.compare(progress=forecast)
forecast.pace()                                # what was learned, for the next estimate
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from assay.models.device import cores
from assay.progress import AT_ONCE_S, Progress, Task, format_duration
from assay.project.estimate import (
    Estimate,
    Pace,
    Stage,
    Work,
    training_step_seconds,
)

if TYPE_CHECKING:
    from assay.project.project import Project

WRONG_BY = 1.3
"""A forecast that is wrong by this factor is corrected aloud."""
WORTH_SAYING_S = 15.0
"""A correction by fewer seconds is not worth a line."""
HEARD_S = 10.0
"""Nothing is corrected earlier: what an earlier run did is passed through in this time."""
BELIEVED = 0.1
"""What was told counts like so much of the whole that took as long as told: one short stage, beside
work that comes and goes, says little."""
MEASURED_S = 1.0
MEASURED_STEPS = 4
"""Steps of a training that are made to be timed, the first of them untimed."""
TRAINING = "training"
"""The task whose steps tell how long the rest will take, see `assay.train.loop`."""


def measure_pace() -> Pace:
    """How much slower than alone this process is now, beside whatever else is running.

    One thread for each processor computes for a second by the clock on the wall; the factor is what
    they would have computed alone, over what they were given time for.
    """
    count = cores()
    with ThreadPoolExecutor(count) as threads:
        given = sum(threads.map(_compute, [time.perf_counter() + MEASURED_S] * count))
    factor = max(1.0, count * MEASURED_S / given)
    return Pace(factor, factor, factor)


def _compute(until: float) -> float:
    """Seconds of processor time that this thread was given up to then."""
    began = time.thread_time()
    while time.perf_counter() < until:
        hashlib.sha256(_BYTES)  # lets other threads go on meanwhile
    return time.thread_time() - began


_BYTES = bytes(1 << 20)


def measure_training(project: Project) -> float:
    """`Pace.training`: what real steps of the project's training take, against what is told.

    Takes the model's loading and a few steps; nothing of it is kept.
    """
    from assay.candidates.shared.training import TrainingSetup
    from assay.train.job import StepReport, TrainingJob
    from assay.train.methods import train_by_method

    setup = TrainingSetup.of(project.context())
    size = setup.settings.rows_per_step
    moments: list[float] = []

    def note(report: StepReport) -> None:
        if not report.validation:
            moments.append(time.monotonic())

    with tempfile.TemporaryDirectory() as folder:
        job = TrainingJob(
            setup.loaded,
            setup.units[: MEASURED_STEPS * size],
            setup.checks[:1],
            setup.settings.model_copy(update={"epochs": 1, "tracking": []}),
            Path(folder) / "steps",
            on_step=note,
        )
        train_by_method(job)
    each = (moments[-1] - moments[0]) / (len(moments) - 1)
    return each / training_step_seconds(project.config, project.sizes(), size)


class Forecast:
    """A `Progress` that hands everything on, and says when the work takes longer or shorter.

    Args:
        inner: who is told.
        told: what was said beforehand; its stages are those of the comparison.
    """

    def __init__(
        self,
        inner: Progress,
        told: Estimate,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner, self._told, self._clock = inner, told, clock
        self._began = self._stage_began = clock()
        self._said = told.seconds
        self._present: Stage | None = told.stages[0]
        self._ahead = told.stages[1:]
        self._rest_of_training: float | None = None
        self._taken: dict[Work, float] = {}
        self._expected: dict[Work, float] = {}

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """The task of `inner`; its steps are looked at."""
        with self._inner.task(label, total, unit) as task:
            yield _Watched(self, task, label, total)

    def say(self, line: str) -> None:
        """Print a line, as `inner` does."""
        self._inner.say(line)

    def stage(self, doing: str, candidate: str) -> None:
        """Learn from the stage that ends; another begins."""
        now, ended = self._clock(), self._present
        took = now - self._stage_began
        # What a model did in an earlier run ends at once, and says nothing of how fast this one is.
        kept = ended is not None and ended.work != "other" and took < AT_ONCE_S
        if ended is not None and ended.doing != "start" and not kept:
            self._taken[ended.work] = self._taken.get(ended.work, 0.0) + took
            self._expected[ended.work] = self._expected.get(ended.work, 0.0) + ended.seconds
        self._enter(doing, candidate)
        self._stage_began, self._rest_of_training = now, None
        self.consider()

    def now(self) -> float:
        """The clock's time in seconds."""
        return self._clock()

    def train(self, done: float, total: float, seconds: float) -> None:
        """So many steps of a training took so long."""
        self._rest_of_training = (total - done) * seconds / done

    def consider(self) -> None:
        """Correct what was said, if it is wrong by much."""
        now = self._clock()
        if now - self._began < HEARD_S:
            return
        left = self._left(now)
        total = now - self._began + left
        wrong = max(total / self._said, self._said / total)
        if wrong < WRONG_BY or abs(total - self._said) < WORTH_SAYING_S:
            return
        word = "Slower" if total > self._said else "Faster"
        self._inner.say(
            f"{word} than told: about {format_duration(total)} in all instead of "
            f"{format_duration(self._said)}; about {format_duration(left)} left."
        )
        self._said = total

    def pace(self) -> Pace:
        """The pace that the work had, for the estimate of another comparison."""
        before = self._told.pace
        return replace(
            before,
            training=before.training * self._factor("training"),
            answers=before.answers * self._factor("answers"),
            other=before.other * self._factor("other"),
        )

    def _factor(self, work: Work) -> float:
        """How many times as long as told such work takes; as a model's other work, where none of
        it is done yet."""
        kinds: list[Work] = [work]
        if work != "other" and work not in self._expected:
            kinds = ["training", "answers"]
        expected = sum(self._expected.get(kind, 0.0) for kind in kinds)
        taken = sum(self._taken.get(kind, 0.0) for kind in kinds)
        believed = BELIEVED * self._told.seconds
        return (taken + believed) / (expected + believed)

    def _left(self, now: float) -> float:
        rest = sum(one.seconds * self._factor(one.work) for one in self._ahead)
        if self._present is None:
            return rest
        if self._rest_of_training is not None:
            return rest + self._rest_of_training
        expected = self._present.seconds * self._factor(self._present.work)
        return rest + max(0.0, expected - (now - self._stage_began))

    def _enter(self, doing: str, candidate: str) -> None:
        """Make a stage the present one; those before it are over. None is there for what takes no
        time."""
        self._present = None
        if doing == "end":
            self._ahead = ()
        for place, one in enumerate(self._ahead):
            if one.doing == doing and candidate in ("", one.candidate):
                self._present, self._ahead = one, self._ahead[place + 1 :]
                return


class _Watched:
    """A task whose advance lets the forecast be looked at again."""

    def __init__(self, forecast: Forecast, task: Task, label: str, total: float | None) -> None:
        self._forecast, self._task = forecast, task
        self._total = total if label == TRAINING else None
        self._done = 0.0
        self._first: tuple[float, float] | None = None  # steps that were done, and when

    def advance(self, amount: float = 1, **info: object) -> None:
        """Hand it on; of a training, reckon from its steps so far."""
        self._task.advance(amount, **info)
        self._done += amount
        if self._total is not None and amount:
            now = self._forecast.now()
            if self._first is None:
                self._first = self._done, now
            elif self._done >= self._first[0] + 3:
                steps, began = self._first
                self._forecast.train(self._done - steps, self._total - steps, now - began)
        self._forecast.consider()
