"""Worker processes: one takes jobs until it is stopped, a supervisor starts one when a job waits.

    work(store)                                        # in this process, until SIGINT or SIGTERM
    with WorkerSupervisor(folder, store, forget): ...  # has jobs done by processes meanwhile

A worker that can do any job has loaded 200 MB before the first, and what a training has used does
not all go back to the system after it. So a watched worker ends when no job comes for a while, and
its supervisor looks into the queue meanwhile.

A watched worker holds the reading end of a pipe whose other end only its supervisor has: when that
is gone, however it ended, the worker puts its job back and ends. So no worker outlives its server.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen
from types import FrameType
from typing import IO

from assay.accounts import request_leases
from assay.interpreter import python
from assay.jobs import fine_tuning, indexing, pulling, queue, recovery
from assay.jobs.batches import SERVED
from assay.jobs.bucket_sweeps import bucket_sweeps
from assay.jobs.fine_tuning import CHECK, TRAIN
from assay.jobs.identity import dead_workers, worker_name
from assay.jobs.indexing import INDEX
from assay.jobs.pulling import PULL
from assay.jobs.worker import (
    IDLE_SECONDS,
    REVIVE_SECONDS,
    Handler,
    JobResult,
    NextJob,
    Work,
    Worker,
)
from assay.log_lines import print_logs_as_lines
from assay.release import traces
from assay.store import (
    conversations,
    stored_completions,
    stored_files,
    stored_responses,
    uploads,
)
from assay.store.store import Store

BEAT_SECONDS = 1.0
"""How soon a worker hears that its job is to be stopped."""
RESTART_SECONDS = 1.0
REST_SECONDS = 60.0
STOP_SECONDS = 20.0
"""A worker that has not put its job back by then is killed; the job is put back all the same."""
TIDY_SECONDS = 600.0
WATCH = "watch"
"""Kind of the jobs that watch releases; a floor above does them."""
QUICK = (CHECK, INDEX, PULL, WATCH)
"""Kinds of jobs that take seconds, or wait for others; a process of its own does them beside long
ones."""

log = logging.getLogger("assay.worker")


def work(
    store: Store,
    kinds: Collection[str] | None = None,
    *,
    job: str | None = None,
    watched: bool = False,
    further: Mapping[str, Handler] | None = None,
) -> None:
    """Take jobs until SIGINT or SIGTERM comes; the job at hand is put back with its checkpoint.

    Args:
        kinds: of jobs to take; None: all.
        job: id of the only one to take, a fine-tuning, if it waits.
        watched: stop when standard input ends, too, and without a job for `REST_SECONDS`.
        further: handlers of kinds that floors above know.

    Raises:
        NotFoundError: there is no such job.
        AssayError: this machine lacks something that every fine-tuning needs.
    """
    with ending_on_signals():
        if watched:
            threading.Thread(target=_end_with_input, daemon=True).start()
        recover(store)
        worker = work_on(store, kinds, further)
        if job is None:
            worker.run(threading.Event(), REST_SECONDS if watched else math.inf)
            return
        fine_tuning.check_machine(store, job)
        while worker.once(job):
            pass  # it was handed on, and waits as another kind


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """SIGINT and SIGTERM interrupt the block, and end it in good order."""
    print_logs_as_lines()
    # A shell starts what it puts into the background with SIGINT ignored; Ray blocks it in its
    # processes, and so in theirs.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except KeyboardInterrupt:
        log.info("stopped")


def recover(store: Store) -> None:
    """Queue the jobs again whose worker on this machine has died; remove what is left of others."""
    recovery.revive(store, dead_workers=dead_workers(recovery.running_workers(store)))
    fine_tuning.sweep(store)


def work_on(
    store: Store,
    kinds: Collection[str] | None = None,
    further: Mapping[str, Handler] | None = None,
) -> Worker:
    """A worker of this process that does jobs of these kinds (None: of all)."""
    known = {**_HANDLERS, **(further or {})}
    handlers = {k: h for k, h in known.items() if kinds is None or k in kinds}
    return Worker(
        store,
        handlers,
        worker_name(),
        beat_seconds=BEAT_SECONDS,
        after=lambda: fine_tuning.sweep(store),
    )


def _check(work: Work) -> NextJob:
    from assay.jobs import tuning_work  # with torch, which other jobs do without

    return tuning_work.check(work)


def _train(work: Work) -> JobResult:
    from assay.jobs import tuning_work

    return tuning_work.train(work)


_HANDLERS: dict[str, Handler] = {
    CHECK: _check,
    TRAIN: _train,
    INDEX: indexing.index,
    PULL: pulling.pull,
}
KINDS = tuple(_HANDLERS)
"""Of jobs that a worker can do."""


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(1)  # whoever would kill it now may be gone


def start_worker(folder: Path, *options: str, errors: IO[bytes] | None = None) -> Popen[bytes]:
    """Start a watched worker of a folder.

    Args:
        options: of `assay worker`.
        errors: file for what it says; None: it is said here.
    """
    command = python("-m", "assay.cli.main", "worker", "--watched", *options)
    # A session of its own: Ctrl-C at a terminal is for who has started it, and stops it.
    return Popen(command, cwd=folder, stdin=PIPE, stderr=errors, start_new_session=True)


def stop_worker(worker: Popen[bytes]) -> None:
    """Let a watched worker put its job back and end; after `STOP_SECONDS` it is killed."""
    assert worker.stdin is not None
    worker.stdin.close()
    end = time.monotonic() + STOP_SECONDS
    while worker.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    if worker.poll() is None:
        worker.kill()
        worker.wait()


class WorkerSupervisor:
    """Has the jobs of a folder done by worker processes until it is left, and removes what has
    expired.

    Args:
        folder: that holds `.assay/`.
        forget: called with project and id of a file that has expired: removes what was made of it.
        trains: whether fine-tuning jobs are done; else they are left to other workers.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        forget: Callable[[str, str], None],
        *,
        trains: bool = True,
    ) -> None:
        self._folder, self._store, self._forget = folder, store, forget
        self._except = () if trains else (TRAIN,)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._tidy, name="tidy", daemon=True)]
        self._threads += [
            threading.Thread(target=self._keep, args=(kinds,), name="worker watch", daemon=True)
            for kinds in (QUICK, ())
        ]

    def __enter__(self) -> WorkerSupervisor:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS + 10.0)  # who tidies may wait for a lock of another process

    def _tidy(self) -> None:
        while True:
            sweeps: list[Callable[[Store], object]] = [
                uploads.sweep,
                traces.prune,
                stored_completions.sweep,
                stored_responses.sweep,
                conversations.sweep,
                request_leases.sweep,
                # Last: they may have to wait, and move what was in the folder into a bucket.
                partial(stored_files.sweep, forget=self._forget),
                *bucket_sweeps(self._store),
            ]
            for sweep in sweeps:
                try:
                    sweep(self._store)
                except Exception as error:  # a database that is away for a moment
                    log.warning("files could not be removed, or moved, yet: %s", error)
            if self._over.wait(TIDY_SECONDS):
                return

    def _keep(self, kinds: Sequence[str]) -> None:
        """One worker after the other, each when a job waits."""
        options = [word for kind in kinds for word in ("--kind", kind)]
        options += [word for kind in self._except for word in ("--except", kind)]
        while self._wait(kinds):
            try:
                worker = start_worker(self._folder, *options)
            except OSError as error:  # no memory or no process to be had, for a moment
                log.warning("a worker could not be started (%s); trying again", error)
                self._over.wait(RESTART_SECONDS)
                continue
            while worker.poll() is None and not self._over.wait(0.2):
                pass
            if self._over.is_set():
                stop_worker(worker)
                return
            if worker.returncode:
                log.warning("a worker has ended (%s)", worker.returncode)
                self._over.wait(RESTART_SECONDS)

    def _wait(self, kinds: Sequence[str]) -> bool:
        """Until a job waits of these kinds, or of any that a worker does, where none are named.

        Returns:
            Whether there is one; not when the supervisor is left.
        """
        recovered = -math.inf
        while not self._over.is_set():
            try:
                if time.monotonic() - recovered >= REVIVE_SECONDS:
                    recovered = time.monotonic()
                    recover(self._store)
                if queue.is_waiting(self._store, kinds, (*SERVED, *self._except)):
                    return True
            except Exception as error:  # a database that is away for a moment
                log.warning("whether jobs wait cannot be told yet: %s", error)
            self._over.wait(IDLE_SECONDS)
        return False
