"""Workers on the machines of a Ray cluster, one for each job that waits.

    ClusterSupervisor(store, cluster, files, most=8, ...).run()    # until SIGINT or SIGTERM

Nothing of a job is in the cluster: it runs `assay worker` in a folder that names the state's
database and bucket. The worker takes its job from the queue there, beats for it, and hears of a
wish to stop it, as it does everywhere. So a job outlives its machine and the cluster: the queue
gives it to another worker after `recovery.SILENCE`.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from assay.errors import StoreError
from assay.jobs import queue
from assay.jobs.fine_tuning import CHECK, TRAIN
from assay.jobs.service import STOP_SECONDS, recover, start_worker, stop_worker
from assay.jobs.worker import IDLE_SECONDS, REVIVE_SECONDS
from assay.place.scratch import scratch_folder
from assay.place.workers import STARTED_S, Cluster, Tell, Worker
from assay.store.store import Store

PAUSE_S = 10.0
"""After a worker that could not do its work, until the next is started."""
_LEAVING_S = 10.0
"""How long a process of the cluster may take beside its worker to leave it."""
_ERRORS = "errors.txt"
_LONGEST_LOG = 20_000
"""Bytes of what a worker has said last, that are kept."""

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
        """Do the job, if it waits still; the last line of the process, where it cannot do it.

        What the process says goes into the log of this one.

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
                while worker.poll() is None:
                    os.utime(folder)  # see `scratch_folder`
                    tell(None)  # raises, once nobody wants it any more
                    time.sleep(IDLE_SECONDS)
            finally:
                stop_worker(worker)
                said = (folder / _ERRORS).read_bytes()[-_LONGEST_LOG:].decode("utf-8", "replace")
                print(said, end="", file=sys.stderr, flush=True)
            if not worker.returncode:
                return ""
            lines = (line.strip() for line in reversed(said.split("\n")))
            return next(filter(None, lines), "it said nothing")


class ClusterSupervisor:
    """Starts a worker in a cluster for each fine-tuning job that waits.

    Args:
        files: see `JobWork`.
        most: workers at once.
        may_leave: whether they may be on other machines than this one.
    """

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        files: Mapping[str, str],
        *,
        most: int,
        may_leave: bool,
    ) -> None:
        self._store, self._cluster, self._files = store, cluster, files
        self._most, self._may_leave = most, may_leave
        self._starting: list[Worker] = []
        self._working: dict[str, Worker] = {}
        self._recovered = self._paused = self._roomless = -math.inf

    def run(self) -> None:
        """Until an interrupt comes, which has the workers put their jobs back."""
        try:
            while True:
                waiting = self._waiting()
                if waiting is not None:
                    self._ask_for_workers(len(waiting))
                    self._begin(waiting)
                if busy := [*self._starting, *self._working.values()]:
                    self._cluster.wait(busy, IDLE_SECONDS)
                else:
                    time.sleep(IDLE_SECONDS)
                self._end()
        finally:
            self._stop()

    def _waiting(self) -> list[str] | None:
        """Jobs that wait and have no worker; None: none is begun now."""
        if time.monotonic() - self._paused < PAUSE_S:
            return None
        try:
            if time.monotonic() - self._recovered >= REVIVE_SECONDS:
                self._recovered = time.monotonic()
                recover(self._store)
            found = queue.waiting(self._store, (CHECK, TRAIN), self._most + len(self._working))
        except StoreError as error:  # a database that is away for a moment
            log.warning("whether jobs wait cannot be told yet: %s", error)
            return None
        return [job for job in found if job not in self._working]

    def _ask_for_workers(self, waiting: int) -> None:
        """As many as jobs wait and as there may be; those that nobody waits for any more go."""
        wanted = min(waiting, self._most - len(self._working))
        for worker in self._starting[max(0, wanted) :]:
            _kill(worker)
        del self._starting[max(0, wanted) :]
        if self._starting and time.monotonic() - self._roomless > STARTED_S:
            self._roomless = time.monotonic()
            log.warning(
                "the cluster has no room yet for %d more workers, each with as many processors as "
                "this machine has threads (OMP_NUM_THREADS sets another number), and with --gpu a "
                "GPU",
                len(self._starting),
            )
        if not self._starting:
            self._roomless = time.monotonic()
        while len(self._starting) < wanted:
            self._starting.append(self._cluster.start(may_leave=self._may_leave))

    def _begin(self, waiting: Iterable[str]) -> None:
        """A worker that is there gets the job that has waited longest."""
        ready = [worker for worker in self._starting if worker.ready]
        for job, worker in zip(waiting, ready, strict=False):
            log.info("%s is begun by a worker of the cluster", job)
            self._starting.remove(worker)
            self._working[job] = worker
            worker.begin(JobWork(job, self._files))

    def _end(self) -> None:
        for job, worker in list(self._working.items()):
            news = worker.news()
            if not news.done:
                continue
            del self._working[job]
            _kill(worker)
            if why := news.error or news.result:
                self._paused = time.monotonic()
                log.warning("%s was not done by its worker: %s", job, why)
            else:
                log.info("the worker of %s has ended", job)

    def _stop(self) -> None:
        """Let the workers put their jobs back; an interrupt meanwhile ends them at once."""
        waited = list(self._working.values())
        try:
            for worker in waited:
                with suppress(Exception):  # its process has died, or the cluster
                    worker.stop()
            end = time.monotonic() + STOP_SECONDS + _LEAVING_S
            while waited and time.monotonic() < end:
                self._cluster.wait(waited, IDLE_SECONDS)
                waited = [worker for worker in waited if not worker.news().done]
        finally:
            for worker in (*self._working.values(), *self._starting):
                _kill(worker)


def _kill(worker: Worker) -> None:
    with suppress(Exception):  # of a cluster that has died itself there is nothing to end
        worker.kill()
