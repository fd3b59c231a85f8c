"""How long a comparison will take here and now: measured before it, corrected while it runs.

pace = measure_pace()                          # how much of the processors there is now
told = opened.estimate(pace=pace)
forecast = Forecast(terminal, told)            # says so where it turns out otherwise
opened.compare(progress=forecast)
forecast.pace()                                # what was learned, for the next estimate
left_of(told, share=0.9)                       # of one that goes on where it stopped
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from assay.models.device import cores
from assay.progress import Progress, RunKeeper, ShareListener, Task, format_duration, say_quoting
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
"""A forecast that is wrong by this factor is corrected: a line is printed."""
WORTH_SAYING_S = 15.0
"""A correction by fewer seconds is not worth a line."""
SETTLING_S = 10.0
"""Nothing is corrected earlier: what an earlier run did is passed through in this time."""
PRIOR_SHARE = 0.1
"""What was told counts like so much of the whole that took as long as told: one short stage, beside
work that comes and goes, says little."""
TIMED_STEPS = 3
"""Steps of a training that say how long the rest of it takes; fewer differ too much."""
KEPT_S = 0.05
"""What a task reports sooner than this was done by an earlier run: no model answers so fast. A
longer time would take a fast model's first answers for kept ones, and learn nothing from it."""
KEPT_STAGE_S = 1.0
"""A stage of a model's work that is over sooner than this was done by an earlier run."""
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
        given = list(threads.map(_compute, [time.perf_counter() + MEASURED_S] * count))
    return pace_of_share(given, MEASURED_S)


def recent_pace() -> Pace:
    """`measure_pace`, once in each minute of the clock, so that every view of a page can ask."""
    with _MEASURING:
        return _pace_in(int(time.monotonic() // 60))


_MEASURING = threading.Lock()


@lru_cache(maxsize=1)
def _pace_in(minute: int) -> Pace:
    return measure_pace()


def pace_of_share(given: Sequence[float], seconds: float) -> Pace:
    """The pace of a process whose threads were given so much processor time each.

    Args:
        seconds: by the clock on the wall, the same for each thread.
    """
    factor = max(1.0, len(given) * seconds / sum(given))
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
    from assay.candidates.shared.reinforcement import supervised
    from assay.candidates.shared.training import TrainingSetup
    from assay.train.job import StepReport, TrainingJob
    from assay.train.session import train_by_method

    # Of reinforcement, the supervised training: answers are drawn at the pace of answers. Of
    # documents, too: their parts are of another length than the rows that are reckoned with.
    context = project.context()
    of_rows = not context.method.reinforces and context.method.learns_from != "documents"
    setup = TrainingSetup.of(context if of_rows else supervised(context))
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


def left_of(told: Estimate, share: float) -> Estimate:
    """What is to come of a comparison that goes on where an earlier run stopped.

    The stages are gone through in the order of their doing, and what is finished is kept, so that
    those within this share of the time take none. It starts anew: the first stage stays whole.

    Args:
        share: of the time of all stages, which the earlier run had done.
    """
    done, left = share * told.seconds - told.stages[0].seconds, [told.stages[0]]
    for stage in told.stages[1:]:
        if stage.seconds > max(done, 0.0):
            left.append(replace(stage, seconds=stage.seconds - max(done, 0.0)))
        done -= stage.seconds
    made = replace(told, stages=tuple(left))
    return made if told.usd is None else replace(made, usd=told.usd * made.seconds / told.seconds)


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
        self._trainings = _Trainings()
        self._is_partly_kept = False
        self._taken: dict[Work, float] = {}
        self._expected: dict[Work, float] = {}

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """The task of `inner`; its steps are looked at."""
        with self._inner.task(label, total, unit) as task:
            tracked = _TrackedTask(self, task, label, total)
            try:
                yield tracked
                tracked.end()
            finally:
                if label == TRAINING:
                    self._trainings.running = None

    def say(self, line: str) -> None:
        """Print a line, as `inner` does."""
        self._inner.say(line)

    def say_quoting(self, line: str, plain: str) -> None:
        """Say a line that may quote a row, as `inner` does."""
        say_quoting(self._inner, line, plain)

    def bring_run(self, folder: Path) -> None:
        """As `inner` does, if it keeps checkpoints."""
        if isinstance(self._inner, RunKeeper):
            self._inner.bring_run(folder)

    def keep_run(
        self, folder: Path, files: Mapping[str, Path], *, is_left: Callable[[], bool]
    ) -> None:
        """As `inner` does, if it keeps checkpoints."""
        if isinstance(self._inner, RunKeeper):
            self._inner.keep_run(folder, files, is_left=is_left)

    def stage(self, doing: str, candidate: str) -> None:
        """Learn from the stage that ends; another begins."""
        now, ended = self._clock(), self._present
        took = now - self._stage_began
        if ended is not None and ended.doing != "start" and not self._was_kept(ended, took):
            self._taken[ended.work] = self._taken.get(ended.work, 0.0) + took
            self._expected[ended.work] = self._expected.get(ended.work, 0.0) + ended.seconds
        self._enter(doing, candidate)
        self._stage_began, self._trainings, self._is_partly_kept = now, _Trainings(), False
        self.consider()

    def _was_kept(self, ended: Stage, took: float) -> bool:
        """Whether some of it was done by an earlier run, so that it says nothing of how fast this
        one is."""
        return self._is_partly_kept or (ended.work != "other" and took < KEPT_STAGE_S)

    def now(self) -> float:
        """The clock's time in seconds."""
        return self._clock()

    def note_first(self, after: float, share_of_training: float | None) -> None:
        """A task reports for the first time that something of it is done.

        Args:
            after: seconds since it began.
            share_of_training: that is done, where it is a training: it begins by saying so.
        """
        if share_of_training is not None:
            self._trainings.kept += share_of_training
            self._is_partly_kept = True
        elif after < KEPT_S and self._present is not None and self._present.work != "other":
            self._is_partly_kept = True

    def train(self, steps: _Steps, *, ended: bool = False) -> None:
        """So many steps of a training took so long."""
        if ended:
            self._trainings.ended.append(steps)
        else:
            self._trainings.running = steps

    def consider(self) -> None:
        """Say how much is done; correct what was said, if it is wrong by much."""
        now = self._clock()
        left = self._left(now)
        total = now - self._began + left
        if isinstance(self._inner, ShareListener):
            self._inner.set_share((now - self._began) / total if total else 1.0)
        if now - self._began < SETTLING_S:
            return
        wrong = max(total / self._said, self._said / total)
        if wrong < WRONG_BY or abs(total - self._said) < WORTH_SAYING_S:
            return
        word = "Slower" if total > self._said else "Faster"
        said_left = format_duration(max(0.0, self._said - (now - self._began)))
        if format_duration(left) == said_left:  # as rounded, there is nothing to correct
            return
        self._inner.say(
            f"{word} than estimated: about {format_duration(left)} left instead of {said_left}."
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
        prior = PRIOR_SHARE * self._told.seconds
        return (taken + prior) / (expected + prior)

    def _left(self, now: float) -> float:
        rest = sum(one.seconds * self._factor(one.work) for one in self._ahead)
        if self._present is None:
            return rest
        # A stage may hold several trainings (seeds), and answers: the steps of one say how fast it
        # all is, and at the least their own rest is to come.
        present, each = self._present, self._present.training_seconds
        factor = self._trainings.factor(each) or self._factor(present.work)
        expected = factor * (present.seconds - self._trainings.kept * each)
        return rest + max(expected - (now - self._stage_began), self._trainings.rest())

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


@dataclass(frozen=True, slots=True)
class _Steps:
    """Timed steps of a training: their share of all its steps, what is to come, and seconds."""

    share: float
    rest: float
    seconds: float


@dataclass(slots=True)
class _Trainings:
    """Those of one stage: the steps of each that has ended, and of the one that is running.

    Attributes:
        kept: share of one training that was done by an earlier run.
    """

    ended: list[_Steps] = field(default_factory=list)
    running: _Steps | None = None
    kept: float = 0.0

    def factor(self, told: float) -> float | None:
        """How many times as long as told they take; None as long as nothing says so.

        Args:
            told: seconds of one training; 0 where they are not known.
        """
        # One that ended before its last step (patience) was as fast as if it had made them all.
        share = sum(one.share + one.rest for one in self.ended)
        seconds = sum(one.seconds for one in self.ended)
        if self.running is not None:
            share, seconds = share + self.running.share, seconds + self.running.seconds
        return seconds / (share * told) if share and told else None

    def rest(self) -> float:
        """Seconds until the one that is running ends."""
        now = self.running
        return 0.0 if now is None else now.rest * now.seconds / now.share


class _TrackedTask:
    """A task whose advance lets the forecast be looked at again."""

    def __init__(self, forecast: Forecast, task: Task, label: str, total: float | None) -> None:
        self._forecast, self._task = forecast, task
        self._total = total if label == TRAINING else None
        self._began, self._done, self._is_first = forecast.now(), 0.0, True
        self._timed: tuple[float, float] | None = None  # steps that were done, and when

    def advance(self, amount: float = 1, **info: object) -> None:
        """Hand it on; of a training, reckon from its steps so far."""
        self._task.advance(amount, **info)
        now = self._forecast.now()
        if self._is_first and amount:
            share = amount / self._total if self._total else None
            self._forecast.note_first(now - self._began, share)
        self._is_first = False
        self._done += amount
        if self._timed is None and amount:
            self._timed = self._done, now
        elif self._timed is not None and self._done >= self._timed[0] + TIMED_STEPS:
            self._tell(now, ended=False)
        self._forecast.consider()

    def end(self) -> None:
        """Of a training that is over, reckon from all its steps."""
        if self._timed is not None and self._done > self._timed[0]:
            self._tell(self._forecast.now(), ended=True)

    def _tell(self, now: float, *, ended: bool) -> None:
        if self._total is not None and self._timed is not None:
            steps, began = self._timed
            done, rest = self._done - steps, self._total - self._done
            timed = _Steps(done / self._total, rest / self._total, now - began)
            self._forecast.train(timed, ended=ended)
