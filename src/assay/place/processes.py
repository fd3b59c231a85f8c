"""What a place gives: the processes that one training runs in, numbered as ranks.

with processes.ranks(make_follower, task) as ranks:   # this process as rank 0
    ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from assay.config import CONFIG_FILE, Place
from assay.errors import ConfigError
from assay.progress import Progress
from assay.quantities import say_count

if TYPE_CHECKING:
    from assay.place.ranks import Ranks  # loads torch

ADDRESS = "RAY_ADDRESS"
"""Variable that names a cluster that runs already, as Ray itself reads it."""

Task = TypeVar("Task")
Follower = Callable[["Ranks"], None]
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
        from assay.place.ranks import ALONE

        yield ALONE


def check_ray_installed() -> None:
    """See that Ray can be used here.

    Raises:
        ConfigError: it is not installed.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            "Ray is not installed, and `place` or `--on` names it.",
            fix="Install it with `pip install 'assay[ray]'`, or use `--on here`.",
        )


def on_this_machine(processes: int) -> int:
    """How many of so many processes share this machine: all where it is the whole cluster."""
    return 1 if os.environ.get(ADDRESS) else processes


def threads_of_each(processes: int, threads: int) -> int:
    """Threads of each process, given those that one alone would have: where the cluster is this
    machine, they share them."""
    return max(1, threads // on_this_machine(processes))


def check_processors(processes: int, setting: str) -> None:
    """Refuse more processes on this machine than it has processors: Ray is told how many there are,
    and would refuse none.

    Args:
        setting: of `place`, that says how many.

    Raises:
        ConfigError: there are more.
    """
    have = os.cpu_count() or 1
    if processes > have:
        raise ConfigError(
            f"this machine has {have} {'processor' if have == 1 else 'processors'}, too few for "
            f"{processes} processes.",
            where=f"{CONFIG_FILE}, place.{setting}",
            fix=f"Use fewer {setting} (`--{setting}`) or `--on here`, or start a cluster of "
            f"several machines and name it in {ADDRESS}.",
        )


_ROWS = "rows of train and validation, with their answers,"


def elsewhere(nodes: Sequence[Mapping[str, Any]], here: str) -> list[str]:
    """Addresses of a cluster's machines that are not this one, of what `ray.nodes` returns."""
    alive = {str(node["NodeManagerAddress"]) for node in nodes if node["Alive"]}
    return sorted(alive - {here})


def check_agreed(
    place: Place, machines: Sequence[str], rows: int, progress: Progress, *, documents: bool = False
) -> None:
    """See that rows may go to other machines, and say that they do.

    Args:
        documents: whether they are parts of documents.

    Raises:
        ConfigError: there are such machines, and the project has not agreed.
    """
    if documents:
        check_texts_agreed(place, machines, progress)
    if machines and not place.consent:
        raise ConfigError(
            "this project has not agreed that what it trains on leaves this machine. "
            f"{rows} {'parts of documents' if documents else _ROWS} would go to machines of the "
            f"Ray cluster ({', '.join(machines)}).",
            where=f"{CONFIG_FILE}, place.consent",
            fix="To allow it, set place.consent: true.",
        )
    if machines:
        sent = say_count(rows, "row")
        progress.say(f"Sending {sent} to machines of the cluster: {', '.join(machines)}.")


def check_requests_agreed(
    place: Place, machines: Sequence[str], requests: int, progress: Progress
) -> None:
    """See that requests may go to other machines to be answered, and say that they do.

    Raises:
        ConfigError: there are such machines, and the project has not agreed to both.
    """
    if machines and not (place.consent and place.consent_to_answer):
        raise ConfigError(
            "this project has not agreed that requests are answered on other machines. "
            f"{say_count(requests, 'request')}, with inputs of validation or the holdout, would go "
            f"to machines of the Ray cluster ({', '.join(machines)}); expected answers of the "
            "holdout would stay.",
            where=f"{CONFIG_FILE}, place.consent_to_answer",
            fix="To allow it, set place.consent_to_answer: true, and place.consent: true for rows "
            "of train and validation with their answers.",
        )
    if machines:
        progress.say(
            f"Sending {say_count(requests, 'request')} to machines of the cluster: "
            f"{', '.join(machines)}."
        )


def check_texts_agreed(place: Place, machines: Sequence[str], progress: Progress) -> None:
    """See that texts of documents may go to other machines, and say that they do.

    Raises:
        ConfigError: there are such machines, and the project has not agreed.
    """
    if machines and not place.consent_for_documents:
        raise ConfigError(
            "this project has not agreed that texts of its documents leave this machine. They "
            f"would go to machines of the Ray cluster ({', '.join(machines)}).",
            where=f"{CONFIG_FILE}, place.consent_for_documents",
            fix="To allow it, set place.consent_for_documents: true; with `--on here` they stay.",
        )
    if machines:
        progress.say(f"Sending texts to machines of the cluster: {', '.join(machines)}.")


def check_files_agreed(machines: Sequence[str], progress: Progress, *, agreed: bool) -> None:
    """See that files of fine-tuning jobs may go to other machines, and say that they do.

    Raises:
        ConfigError: there are such machines, and nobody has agreed.
    """
    if machines and not agreed:
        raise ConfigError(
            "nobody has agreed that files of fine-tuning jobs leave this machine. Those of all "
            f"projects would go to machines of the Ray cluster ({', '.join(machines)}).",
            fix="To allow it, also to machines that join the cluster later, add --consent.",
        )
    if machines:
        progress.say(f"Jobs and their files go to machines of the cluster: {', '.join(machines)}.")
