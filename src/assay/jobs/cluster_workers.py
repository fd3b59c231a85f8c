"""Workers on the machines of a Ray cluster, one for each job that waits.

    ClusterSupervisor(store, cluster, files, kinds, most=8).run()    # until SIGINT or SIGTERM

Nothing of a job is in the cluster: it runs `assay worker` in a folder that names the state's
database and bucket. The worker takes its job from the queue there, beats for it, and hears of a
wish to stop it, as it does everywhere. So a job outlives its machine and the cluster: the queue
gives it to another worker after `recovery.SILENCE`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from assay.jobs import queue
from assay.jobs.service import STOP_SECONDS, recover, start_worker, stop_worker
from assay.jobs.worker import IDLE_SECONDS, REVIVE_SECONDS
from assay.place.scratch import scratch_folder
from assay.place.workers import STARTED_S, Cluster, Tell, Worker
from assay.store.store import Store

PAUSE_S = 10.0
"""After a worker that could not do its work, until the next is started."""
_ERRORS = "errors.txt"
_LONGEST_ERROR = 2000
"""Bytes of what a worker has said last, that are told."""

log = logging.getLogger("assay.worker")


@dataclass(frozen=True, slots=True)
class JobWork:
    """A job of the queue, to be done in a process of its own.

    Attributes:
        files: texts of what the folder needs to find the state, by their place in it.
    """

    job: str
    files: Mapping[str, str]
    kept_bytes: int = 0

    def run(self, tell: Tell) -> str:
        """Do the job, if it waits still; what the process said at the end, if it has failed.

        Raises:
            WorkStoppedError: it was to be left; it is in the queue again.
        """
        with scratch_folder("worker") as folder:
            for name, text in self.files.items():
                file = folder / name
                file.parent.mkdir(mode=0o700, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            with (folder / _ERRORS).open("wb") as errors:
                worker = start_worker(folder, "--job", self.job, errors=errors)
            try:
                _wait(worker, tell)
            finally:
                stop_worker(worker)
            return _last_line(folder / _ERRORS) if worker.returncode else ""


def _wait(worker: Popen[bytes], tell: Tell) -> None:
    while worker.poll() is None:
        tell(None)  # raises, once nobody wants it any more
        time.sleep(IDLE_SECONDS)


def _last_line(file: Path) -> str:
    lines = file.read_bytes()[-_LONGEST_ERROR:].decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


class ClusterSupervisor:
    """Starts a worker in a cluster for each job that waits.

    Args:
        files: see `JobWork`.
        kinds: of jobs that are done there.
        most: workers at once.
        may_leave: whether they may be on other machines than this one.
    """

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        files: Mapping[str, str],
        kinds: Collection[str],
        *,
        most: int,
        may_leave: bool,
    ) -> None:
        self._store, self._cluster, self._files, self._kinds = store, cluster, files, kinds
        self._most, self._may_leave = most, may_leave
        self._starting: dict[str, Worker] = {}
        self._working: dict[str, Worker] = {}
        self._recovered = self._paused = self._asked = self._roomless = -math.inf

    def run(self) -> None:
        """Until an interrupt comes, which has the workers put their jobs back."""
        try:
            while True:
                try:
                    self._start()
                except Exception as error:  # a database that is away for a moment
                    log.warning("whether jobs wait cannot be told yet: %s", error)
                self._begin()
                if busy := [*self._starting.values(), *self._working.values()]:
                    self._cluster.wait(busy, IDLE_SECONDS)
                else:
                    time.sleep(IDLE_SECONDS)
                self._end()
        finally:
            self._stop()

    def _start(self) -> None:
        """A worker for each job that waits and has none yet, as far as there may be more."""
        if time.monotonic() - self._recovered >= REVIVE_SECONDS:
            self._recovered = time.monotonic()
            recover(self._store)
        if time.monotonic() - self._paused < PAUSE_S:
            return
        had = {*self._starting, *self._working}
        for job in queue.waiting(self._store, self._kinds, self._most):
            if job not in had and len(self._starting) + len(self._working) < self._most:
                self._starting[job] = self._cluster.start(may_leave=self._may_leave)
                self._asked = time.monotonic()

    def _begin(self) -> None:
        for job, worker in list(self._starting.items()):
            if worker.ready:
                log.info("%s is done by a worker of the cluster", job)
                worker.begin(JobWork(job, self._files))
                self._working[job] = self._starting.pop(job)
        if self._starting and time.monotonic() - max(self._asked, self._roomless) > STARTED_S:
            self._roomless = time.monotonic()
            log.warning("the cluster has no room yet for %d more workers", len(self._starting))

    def _end(self) -> None:
        for job, worker in list(self._working.items()):
            news = worker.news()
            if not news.done:
                continue
            self._working.pop(job).kill()
            if why := news.error or news.result:
                self._paused = time.monotonic()
                log.warning("the worker of %s has ended: %s", job, why)

    def _stop(self) -> None:
        """Let the workers put their jobs back; an interrupt meanwhile ends them at once."""
        waited = list(self._working.values())
        try:
            for worker in waited:
                worker.stop()
            end = time.monotonic() + STOP_SECONDS + IDLE_SECONDS
            while waited and time.monotonic() < end:
                self._cluster.wait(waited, IDLE_SECONDS)
                waited = [worker for worker in waited if not worker.news().done]
        finally:
            for worker in (*self._working.values(), *self._starting.values()):
                worker.kill()
