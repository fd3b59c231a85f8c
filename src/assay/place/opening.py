"""Opens the place that a project names.

with open_place(place, threads, rows, progress) as processes:
    with processes.ranks(make_follower, task) as ranks:   # this process as rank 0
        ...
with workers_of(place, progress) as workers:
    workers.to_train(rows).run(works, told, ended)        # each by a process of its own
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from assay.config import Place
from assay.place.processes import (
    OneProcess,
    Processes,
    check_agreed,
    check_files_agreed,
    check_ray_installed,
    check_requests_agreed,
    check_texts_agreed,
    threads_of_each,
)
from assay.place.workers import Workers
from assay.progress import Progress


@contextmanager
def open_place(
    place: Place, threads: int, rows: int, progress: Progress, *, documents: bool = False
) -> Iterator[Processes]:
    """The processes that a place gives, for as long as they are needed.

    Args:
        threads: of each rank.
        rows: that go to all of them.
        documents: whether these are parts of documents.

    Raises:
        ConfigError: Ray is not installed or cannot be reached, the cluster is too small, or rows
            would leave this machine without consent.
    """
    if place.size == 1:
        yield OneProcess()
        return
    check_ray_installed()
    from assay.place.ray.ranks import ranks

    with ranks(place, threads, rows, progress, documents=documents) as processes:
        yield processes


class LazyWorkers:
    """Workers of a place, started when they are first needed.

    Attributes:
        count: how many there will be.
    """

    def __init__(self, place: Place, gpus: int, progress: Progress, stack: ExitStack) -> None:
        self._place, self._gpus, self._progress, self._stack = place, gpus, progress, stack
        self._workers: Workers | None = None
        self.count = place.at_once

    @property
    def threads(self) -> int:
        """How many threads each worker computes with."""
        import torch

        return threads_of_each(self.count, torch.get_num_threads())

    def to_train(self, rows: int, *, documents: bool = False) -> Workers:
        """For trainings on so many rows.

        Args:
            documents: whether these are parts of documents.

        Raises:
            ConfigError: Ray is not installed or cannot be reached, the cluster is too small, or
                rows would leave this machine without consent.
        """
        found = self._started()
        check_agreed(self._place, found.elsewhere, rows, self._progress, documents=documents)
        found.stay_unless(self._place.agrees_to_train(documents=documents))
        return found

    def to_answer(self, requests: int) -> Workers:
        """For so many requests, which may be of the holdout.

        Raises:
            ConfigError: likewise.
        """
        found = self._started()
        check_requests_agreed(self._place, found.elsewhere, requests, self._progress)
        found.stay_unless(self._place.consent and self._place.consent_to_answer)
        return found

    def to_embed(self) -> Workers:
        """For texts of documents.

        Raises:
            ConfigError: likewise.
        """
        found = self._started()
        check_texts_agreed(self._place, found.elsewhere, self._progress)
        found.stay_unless(self._place.consent_for_documents)
        return found

    def to_do_jobs(self, *, agreed: bool) -> Workers:
        """For jobs of the queue, with the files that they train on.

        Args:
            agreed: whether these may leave this machine.

        Raises:
            ConfigError: likewise.
        """
        found = self._started()
        check_files_agreed(found.elsewhere, self._progress, agreed=agreed)
        found.stay_unless(agreed)
        return found

    def _started(self) -> Workers:
        if self._workers is None:
            check_ray_installed()
            from assay.place.ray.workers import workers

            opened = workers(self.count, self.threads, self._gpus, self._progress)
            self._workers = self._stack.enter_context(opened)
        return self._workers


@contextmanager
def workers_of(place: Place, progress: Progress, *, gpus: int = 0) -> Iterator[LazyWorkers | None]:
    """Workers for as long as the block lasts; None where the place has none.

    Args:
        gpus: that each of them asks the cluster for.
    """
    with ExitStack() as stack:
        yield LazyWorkers(place, gpus, progress, stack) if place.at_once else None
