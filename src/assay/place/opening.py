"""Opens the place that a project names.

with open_place(place, threads, rows, progress) as processes:
    with processes.ranks(make_follower, task) as ranks:   # this process as rank 0
        ...
with open_workers(place, threads, rows, progress) as workers:
    workers.run(works, told, ended)                       # each by a process of its own
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from assay.config import Place
from assay.place.processes import OneProcess, Processes, check_ray_installed
from assay.place.workers import Workers
from assay.progress import Progress


@contextmanager
def open_place(place: Place, threads: int, rows: int, progress: Progress) -> Iterator[Processes]:
    """The processes that a place gives, for as long as they are needed.

    Args:
        threads: of each rank.
        rows: that go to all of them.

    Raises:
        ConfigError: Ray is not installed or cannot be reached, the cluster is too small, or rows
            would leave this machine without consent.
    """
    if place.size == 1:
        yield OneProcess()
        return
    check_ray_installed()
    from assay.place import ray

    with ray.ranks(place, threads, rows, progress) as processes:
        yield processes


@contextmanager
def open_workers(place: Place, threads: int, rows: int, progress: Progress) -> Iterator[Workers]:
    """The workers of a place that has some (`Place.at_once`).

    Args:
        threads: of each worker.
        rows: that go to them.

    Raises:
        ConfigError: as `open_place`.
    """
    check_ray_installed()
    from assay.place import ray

    with ray.workers(place, threads, rows, progress) as workers:
        yield workers
