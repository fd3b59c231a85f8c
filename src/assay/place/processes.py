"""What a place gives: the processes that one training runs in, numbered as ranks.

with processes.ranks(make_follower, task) as ranks:   # this process as rank 0
    ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Protocol, TypeVar

from assay.config import CONFIG_FILE, Place
from assay.errors import ConfigError
from assay.place.ranks import ALONE, Ranks

ADDRESS = "RAY_ADDRESS"
"""Variable that names a cluster that runs already, as Ray itself reads it."""

Task = TypeVar("Task")
Follower = Callable[[Ranks], None]
"""What a further rank does from beginning to end, with rank 0."""


class Processes(Protocol):
    """Where ranks are had from."""

    def ranks(self, make: Callable[[Task], Follower], task: Task) -> AbstractContextManager[Ranks]:
        """This process as rank 0; every other one calls `make(task)`, and what that returns.

        Raises:
            RankLostError: one has ended before the block has; the others are ended, too.
        """


class OneProcess:
    """This process alone."""

    @contextmanager
    def ranks(self, make: Callable[[Task], Follower], task: Task) -> Iterator[Ranks]:
        """This process, and nobody else, for as long as the block lasts."""
        yield ALONE


def check_ray_installed() -> None:
    """See that Ray can be used here.

    Raises:
        ConfigError: it is not installed.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            "training on Ray needs Ray, which is not installed.",
            fix="Install it with `pip install 'assay[ray]'`, or train with `--on here`.",
        )


def local_ranks(place: Place) -> int:
    """How many ranks share this machine: all where the cluster is this machine alone."""
    return 1 if os.environ.get(ADDRESS) else place.size


def threads_of_rank(place: Place, threads: int) -> int:
    """Threads of each rank, given those that one process would have: where the cluster is this
    machine, ranks share them."""
    return max(1, threads // local_ranks(place))


def check_processors(place: Place) -> None:
    """Refuse more ranks on this machine than it has processors: Ray is told how many there are, and
    would refuse none.

    Raises:
        ConfigError: there are more.
    """
    have = os.cpu_count() or 1
    if place.size > have:
        raise ConfigError(
            f"this machine has {have} {'processor' if have == 1 else 'processors'}, too few for "
            f"{place.size} processes.",
            where=f"{CONFIG_FILE}, place.ranks",
            fix="Train with fewer ranks (`--ranks`) or with `--on here`, or start a cluster of "
            f"several machines and name it in {ADDRESS}.",
        )
