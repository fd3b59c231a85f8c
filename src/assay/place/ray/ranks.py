"""Ranks of one training: this process is rank 0, which reads and writes all files.

Ray places the others, tells when one has died, and ends them with the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from assay.config import CONFIG_FILE, Place
from assay.errors import AssayError, ConfigError, first_line
from assay.place.around_ray import hide_gpus, ignore_interrupts
from assay.place.processes import Follower, Processes, Task, check_agreed, elsewhere
from assay.place.ranks import GlooRank, RankLostError, Ranks, first_store, listening, other_store
from assay.place.ray.cluster import cluster, on_node, value
from assay.place.workers import WorkerLostError
from assay.progress import Progress

PLACED_S = 60.0
"""How long a cluster may take to find room for all ranks."""


@contextmanager
def ranks(
    place: Place, threads: int, rows: int, progress: Progress, *, documents: bool = False
) -> Iterator[Processes]:
    """Ranks of the cluster at hand, or of one that is started, see `opening.open_place`."""
    with cluster(place.ranks, "ranks", threads, progress):
        yield _Processes(place, threads, rows, progress, documents=documents)


class _Processes:
    """Those of the cluster that this process is connected to."""

    def __init__(
        self,
        place: Place,
        processors: int,
        rows: int,
        progress: Progress,
        *,
        documents: bool = False,
    ) -> None:
        import ray

        self._size, self._processors = place.size, processors
        self._host = ray.util.get_node_ip_address()
        machines = elsewhere(ray.nodes(), self._host)
        check_agreed(place, machines, rows, progress, documents=documents)
        self._may_leave = place.agrees_to_train(documents=documents)

    @contextmanager
    def ranks(self, make: Callable[[Task], Follower], task: Task) -> Iterator[Ranks]:
        """This process as rank 0, the others as actors that end with the block."""
        import ray
        from ray.util import remove_placement_group

        group = self._room()
        actors: list[Any] = []
        ends: list[Any] = []
        try:
            actors = self._actors(group)
            given = ray.put(task)
            _each([actor.prepare.remote(make, given) for actor in actors])
            with listening(self._host) as own:
                port = own.getsockname()[1]
                ends = [
                    actor.run.remote(number, self._size, self._host, port)
                    for number, actor in enumerate(actors, start=1)
                ]
                yield GlooRank(0, self._size, self._host, first_store(self._host, own, self._size))
        except RankLostError as lost:
            raise _reason(ends, lost) from None
        finally:
            # Of a cluster that has died itself there is nothing to end, and Ray says so by a bare
            # Exception, which must not take the place of what has happened.
            with suppress(Exception):
                for actor in actors:
                    ray.kill(actor, no_restart=True)
                remove_placement_group(group)

    def _room(self) -> Any:
        """Processors for all ranks at once, the first of them on this machine, for rank 0."""
        import ray
        from ray.util import placement_group, remove_placement_group

        each = {"CPU": float(self._processors)}
        mine = {**each, **on_node(self._host)}
        # Machines may join while it waits for room, and nobody has agreed to these.
        others = each if self._may_leave else mine
        group = placement_group([mine, *[others] * (self._size - 1)], strategy="SPREAD")
        if group.wait(PLACED_S):
            return group
        remove_placement_group(group)
        have = int(ray.cluster_resources().get("CPU", 0))
        raise ConfigError(
            f"the Ray cluster has no room for {self._size} processes of {self._processors} "
            f"processors each (it has {have} in all, some perhaps in use).",
            where=f"{CONFIG_FILE}, place.ranks",
            fix="Train with fewer ranks (`--ranks`) or threads (OMP_NUM_THREADS), or wait until "
            "processors are free.",
        )

    def _actors(self, group: Any) -> list[Any]:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        kind = ray.remote(_Rank)
        return [
            kind.options(
                num_cpus=self._processors,
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=bundle
                ),
            ).remote()
            for bundle in range(1, self._size)
        ]


class _Rank:
    """In a process of the cluster: one rank after the first."""

    def __init__(self) -> None:
        ignore_interrupts()
        hide_gpus()

    def prepare(self, make: Callable[[Task], Follower], task: Task) -> None:
        """Load what is needed before the first step."""
        self._follow = make(task)

    def run(self, number: int, size: int, host: str, port: int) -> None:
        """Take part to the end."""
        import ray

        store = other_store(host, port, size)
        self._follow(GlooRank(number, size, ray.util.get_node_ip_address(), store))


def _each(references: Sequence[Any]) -> None:
    """Wait for all; what one of them has raised is raised as what it was."""
    try:
        for reference in references:
            value(reference)
    except WorkerLostError as error:
        raise RankLostError(str(error)) from None


def _reason(references: Sequence[Any], lost: RankLostError) -> AssayError:
    """Why a rank is gone: what it raised itself, or that its process has died."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    found: AssayError = lost
    # Those that have lost it, too, say so, and soon; who was lost says why.
    ready = (
        ray.wait([*references], num_returns=len(references), timeout=10)[0] if references else []
    )
    for reference in ready:
        try:
            ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, RankLostError):
                continue
            if isinstance(error.cause, AssayError):
                return error.cause
            found = RankLostError(f"a process of this training has failed ({error.cause!r}).")
        except RayActorError as error:
            found = _ended(error)
    return found


def _ended(error: Exception) -> RankLostError:
    return RankLostError(f"a process of this training has died ({first_line(error)}).")
