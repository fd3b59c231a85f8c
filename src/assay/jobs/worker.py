"""A worker: takes a job, does it, takes the next.

    worker = Worker(store, {"train": train}, name="host:4711")
    worker.run(stop)             # until `stop` is set
    worker.once()                # one job, if one waits

A handler runs in the worker's main thread and returns the result. It need not know of the queue: it
reports to `work.progress`, and is stopped as a user stops it at a terminal, by an interrupt. So
whatever survives Ctrl-C survives a pause, and goes on from its checkpoint.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import update

from assay.errors import AssayError, ProviderError
from assay.interrupt import heard, interrupt_main
from assay.jobs import kept_runs, queue, recovery
from assay.jobs.events import PLAIN
from assay.jobs.kept_runs import KeptRuns
from assay.jobs.queue import OVER, Job, JobLostError
from assay.store.store import Store
from assay.store.tables import JobRow, Table

BEAT_SECONDS = 5.0
IDLE_SECONDS = 1.0
UNEXPECTED = "an unexpected error"
"""Begins the error of a job that has met a fault; what follows is its traceback's last line."""
REVIVE_SECONDS = 10.0
"""Between two looks for jobs whose worker has died."""


@dataclass(frozen=True, slots=True)
class NextJob:
    """What a handler returns whose part is done: the job is queued again as another kind."""

    kind: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a handler returns whose result must not be seen without further rows, nor they alone."""

    result: dict[str, Any]
    rows: Sequence[Table]


@dataclass(frozen=True, slots=True)
class RepeatedJob:
    """What a handler returns whose job is to be done again, no sooner than `after`.

    Attributes:
        error: why it could not be done this time.
    """

    result: dict[str, Any]
    after: timedelta
    error: str | None = None


Handler = Callable[["Work"], dict[str, Any] | NextJob | JobResult | RepeatedJob]

log = logging.getLogger(__name__)


class Work:
    """What a handler gets: the job, and where to report to (a `Progress`).

    Attributes:
        wish: why it was interrupted: `cancel`, `pause`, `lost`, or None for the worker's own end.
    """

    def __init__(self, store: Store, job: Job, beat_seconds: float) -> None:
        self.store, self.job, self.wish = store, job, ""
        self._seconds = beat_seconds
        self._progress: dict[str, Any] = {}
        self._share: float | None = (job.progress or {}).get("share")
        self._over = threading.Event()
        self._runs = KeptRuns(store, job, self.say, lambda: self.wish in ("cancel", "lost"))

    @property
    def payload(self) -> dict[str, Any]:
        """What is to be done."""
        return self.job.payload

    @property
    def share(self) -> float:
        """How much of the whole job is done, by earlier runs as well; 0 where nobody has said."""
        return self._share or 0.0

    def say(self, line: str) -> None:
        """An event that is kept."""
        queue.note(self.store, self.job, line)

    def say_quoting(self, line: str, plain: str) -> None:
        """An event that is kept, with the line that programs are told."""
        queue.note(self.store, self.job, line, {PLAIN: plain})

    def metrics(self, message: str, data: dict[str, Any]) -> None:
        """Keep figures as an event of the job."""
        queue.note(self.store, self.job, message, data, kind="metrics")

    def keep(self, result: dict[str, Any]) -> None:
        """Keep what is done so far, for whoever goes on with the job."""
        with queue.as_owner(self.store, self.job) as session:
            session.execute(update(JobRow).where(JobRow.id == self.job.id).values(result=result))

    def set_share(self, share: float) -> None:
        """How much of the whole job is done, which a bar of one task does not say; never less than
        before, though a job that goes on begins its tasks anew."""
        self._share = max(share, self.share)

    def bring_run(self, folder: Path) -> None:
        """Let a training go on from the checkpoint that the job's last worker has kept."""
        self._runs.bring(folder)

    def keep_run(
        self, folder: Path, files: Mapping[str, Path], *, is_left: Callable[[], bool]
    ) -> None:
        """Keep a checkpoint of a training for whoever goes on with the job, see `RunKeeper`."""
        self._runs.keep(folder, files, is_left=is_left)

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[_Bar]:
        """A bar; its state goes out with the next beat, its last one until another bar begins."""
        bar = _Bar(label, total, unit)
        before, self._progress = self._progress, bar.state
        try:
            yield bar
        finally:
            self._progress = before or bar.state

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beats in a thread of its own; a wish interrupts the main thread."""
        thread = threading.Thread(target=self._beat, name=f"beat {self.job.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                state = dict(self._progress)
                if self._share is not None:
                    state["share"] = self._share
                wish = queue.beat(self.store, self.job, state)  # none yet: not that of a run before
            except JobLostError:
                wish = "lost"
            except Exception as error:  # a database that is away for a moment
                log.warning("the heartbeat of %s failed: %s", self.job.id, error)
                continue
            if wish and not self.wish:
                self.wish = wish
                interrupt_main(self._over)


class _Bar:
    def __init__(self, label: str, total: float | None, unit: str) -> None:
        self.state: dict[str, Any] = {"label": label, "done": 0.0, "total": total, "unit": unit}

    def advance(self, amount: float = 1, **info: object) -> None:
        """Move on."""
        self.state["done"] += amount
        self.state.update({name: value for name, value in info.items() if value is not None})


class Worker:
    """Does jobs, one after the other.

    Args:
        handlers: by kind of job.
        name: of this worker, among all that share the database.
        beat_seconds: between two signs of life; well below `recovery.SILENCE`.
        after: called when a job has left the worker.
    """

    def __init__(
        self,
        store: Store,
        handlers: Mapping[str, Handler],
        name: str,
        *,
        beat_seconds: float = BEAT_SECONDS,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.store, self.handlers, self.name = store, handlers, name
        self._beat_seconds, self._after = beat_seconds, after

    def run(self, stop: threading.Event, idle_seconds: float = math.inf) -> None:
        """Until `stop` is set between two jobs, no job has come for `idle_seconds`, or an interrupt
        comes, which puts the job back."""
        looked, busy = -REVIVE_SECONDS, time.monotonic()
        while not stop.is_set() and time.monotonic() - busy < idle_seconds:
            if time.monotonic() - looked >= REVIVE_SECONDS:
                looked = time.monotonic()
                recovery.revive(self.store)
            if self.once():
                self._after()
                busy = time.monotonic()
            else:
                stop.wait(IDLE_SECONDS)

    def once(self, id: str | None = None) -> Job | None:
        """Do the job that has waited longest, or that one alone; None when it does not wait."""
        job = queue.claim(self.store, self.name, self.handlers, id)
        if job is None:
            return None
        work = Work(self.store, job, self._beat_seconds)
        try:
            # A shell starts what it puts into the background with SIGINT ignored.
            with heard(between_imports=True), work.beating():
                result = self.handlers[job.kind](work)
        except KeyboardInterrupt:
            self._interrupted(job, work.wish)
        except JobLostError:
            log.warning("%s was given to another worker", job.id)
        except ProviderError as error:
            self._tell(queue.fail, job, str(error), {PLAIN: error.plain})
        except AssayError as error:
            self._tell(queue.fail, job, str(error))
        except Exception as error:
            log.exception("%s failed", job.id)
            self._tell(queue.fail, job, f"{UNEXPECTED}: {type(error).__name__}: {error}")
        else:
            if isinstance(result, NextJob):
                self._tell(queue.hand_on, job, result.kind)
            elif isinstance(result, RepeatedJob):
                self._tell(queue.repeat, job, result.result, result.after, result.error)
            elif isinstance(result, JobResult):
                self._tell(queue.finish, job, result.result, result.rows)
            else:
                self._tell(queue.finish, job, result)
        left = queue.read(self.store, job.id)
        if left.status in OVER:
            kept_runs.forget(self.store, job.id)
        return left

    def _interrupted(self, job: Job, wish: str) -> None:
        if wish == "lost":
            log.warning("%s was given to another worker", job.id)
        elif wish:
            self._tell(queue.stop, job, wish)
        else:
            self._tell(queue.release, job)
            raise KeyboardInterrupt

    def _tell(self, what: Callable[..., None], job: Job, *arguments: Any) -> None:
        try:
            what(self.store, job, *arguments)
        except JobLostError as error:
            log.warning("%s", error)
