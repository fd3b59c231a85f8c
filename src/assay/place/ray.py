"""A Ray cluster and processes on it. The only file that imports Ray, and only when it is used.

Without RAY_ADDRESS a cluster is started for the length of the block: on this machine, bound to
127.0.0.1, with a token of its own, its files in a folder that goes with it. With RAY_ADDRESS the
cluster that it names is used as it is; this machine must belong to it.

Of a training with several ranks the process that calls is rank 0, which reads and writes all files;
of workers it is the one that sends them work. Ray places the others, tells when one has died, and
ends them with the block.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from assay.config import CONFIG_FILE, Place
from assay.errors import AssayError, ConfigError, first_line
from assay.place.around_ray import ignore_interrupts, ray_variables, signals_kept
from assay.place.processes import (
    ADDRESS,
    Follower,
    Processes,
    Task,
    check_agreed,
    check_processors,
    elsewhere,
)
from assay.place.ranks import GlooRank, RankLostError, Ranks, first_store, listening, other_store
from assay.place.worker_process import WorkerProcess
from assay.place.workers import News, WorkerLostError, Workers, WorkItem
from assay.progress import Progress

LOOPBACK = "127.0.0.1"
PLACED_S = 60.0
"""How long a cluster may take to find room for all ranks."""
STORE_BYTES = 256 * 2**20
"""Of a cluster of this machine, for rows on their way to the ranks; what is more goes to disk."""


@contextmanager
def ranks(
    place: Place, threads: int, rows: int, progress: Progress, *, documents: bool = False
) -> Iterator[Processes]:
    """Ranks of the cluster at hand, or of one that is started, see `opening.open_place`."""
    with cluster(place.ranks, "ranks", threads, progress):
        yield _Processes(place, threads, rows, progress, documents=documents)


@contextmanager
def workers(count: int, threads: int, progress: Progress) -> Iterator[Workers]:
    """Workers of the cluster at hand, or of one that is started, see `opening.LazyWorkers`."""
    with cluster(count, "workers", threads, progress):
        found = Workers(_Cluster(threads), count, progress)
        try:
            yield found
        finally:
            found.close()


@contextmanager
def cluster(processes: int, setting: str, threads: int, progress: Progress) -> Iterator[None]:
    """A cluster to be connected to, the one of RAY_ADDRESS or of this machine alone.

    Args:
        setting: of `place`, that says how many processes.
        threads: of each of them.
    """
    import ray

    if ray.is_initialized():  # a program that uses Ray itself
        yield
    elif address := os.environ.get(ADDRESS):
        with _connected(address):
            yield
    else:
        check_processors(processes, setting)
        progress.say(f"Starting Ray on this machine for {processes} processes.")
        with local_cluster(processes * threads):
            yield


@contextmanager
def local_cluster(processors: int) -> Iterator[None]:
    """A cluster of this machine that nobody else reaches; nothing of it is left afterwards."""
    folder = tempfile.mkdtemp(prefix="assay-ray-", dir="/tmp")  # a socket's path must be short
    try:
        with ray_variables():
            import ray
            from ray._private import ray_constants

            ray_constants.ENABLE_RAY_CLUSTER = False  # where Ray was imported before
            try:
                _keep_stdout()
                with signals_kept():
                    ray.init(
                        address="local",
                        num_cpus=processors,
                        num_gpus=0,
                        object_store_memory=STORE_BYTES,
                        include_dashboard=False,
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                        _node_ip_address=LOOPBACK,
                        _temp_dir=folder,
                    )
                yield
            except (RuntimeError, ValueError, OSError) as error:
                if ray.is_initialized():
                    raise
                raise ConfigError(
                    f"Ray cannot be started on this machine ({first_line(error)}).",
                    fix="Train with `--on here`, or start a cluster and name it in RAY_ADDRESS.",
                ) from None
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    import ray

    try:
        _keep_stdout()
        with signals_kept():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        yield
    except (RuntimeError, ValueError, OSError) as error:
        if ray.is_initialized():
            raise
        raise ConfigError(
            f"the Ray cluster cannot be reached ({first_line(error)}).",
            where=f"the variable {ADDRESS}, {address!r}",
            fix="This machine must belong to it: `ray start --address=HOST:6379`. Or unset the "
            "variable: then Ray is started on this machine.",
        ) from None
    finally:
        ray.shutdown()


def _keep_stdout() -> None:
    """Ray would print there that a process has died, between what a command prints; we say it."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *_, **__: None


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
        mine = {**each, **_on_node(self._host)}
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

    def prepare(self, make: Callable[[Task], Follower], task: Task) -> None:
        """Load what is needed before the first step."""
        self._follow = make(task)

    def run(self, number: int, size: int, host: str, port: int) -> None:
        """Take part to the end."""
        import ray

        store = other_store(host, port, size)
        self._follow(GlooRank(number, size, ray.util.get_node_ip_address(), store))


class _Cluster:
    """The one that this process is connected to, as workers are had from it."""

    def __init__(self, processors: int) -> None:
        import ray

        self._processors, self._host = processors, ray.util.get_node_ip_address()

    def elsewhere(self) -> list[str]:
        import ray

        return elsewhere(ray.nodes(), self._host)

    def start(self, *, may_leave: bool) -> _Worker:
        return _Worker(self._processors, {} if may_leave else _on_node(self._host))

    def wait(self, workers: Sequence[Any], seconds: float) -> None:
        import ray

        pending = [one for one in workers if not (one.ready and one.end is None)]
        ray.wait([one.end for one in pending], timeout=seconds)


class _Worker:
    """A process of the cluster, see `workers.Worker`."""

    def __init__(self, processors: int, resources: dict[str, float]) -> None:
        import ray

        kind = ray.remote(WorkerProcess)
        self._actor: Any = kind.options(
            num_cpus=processors,
            resources=resources,
            max_restarts=0,
            max_concurrency=2,
            scheduling_strategy="SPREAD",
        ).remote()
        self._started = False
        self.end: Any = self._actor.is_there.remote()
        """What `_Cluster.wait` waits for; None: nothing is done."""

    @property
    def ready(self) -> bool:
        import ray

        if not self._started and ray.wait([self.end], timeout=0)[0]:
            self._started, self.end = True, None
        return self._started

    def begin(self, work: WorkItem) -> None:
        self.end = self._actor.run.remote(work)

    def news(self) -> News:
        import ray

        done = bool(ray.wait([self.end], timeout=0)[0])
        told: list[object] = []
        try:
            told = _value(self._actor.told.remote())
            if not done:
                return News(told)
            end, self.end = self.end, None
            return News(told, done, _value(end))
        except Exception as error:
            return News(told, done=True, error=error)

    def stop(self) -> None:
        self._actor.stop.remote()

    def kill(self) -> None:
        import ray

        ray.kill(self._actor, no_restart=True)


def _on_node(host: str) -> dict[str, float]:
    """What a process asks for that shall be on this machine."""
    return {f"node:{host}": 0.001}


def _each(references: Sequence[Any]) -> None:
    """Wait for all; what one of them has raised is raised as what it was."""
    try:
        for reference in references:
            _value(reference)
    except WorkerLostError as error:
        raise RankLostError(str(error)) from None


def _value(reference: Any) -> Any:
    """What a call has returned; what it has raised is raised as what it was.

    Raises:
        WorkerLostError: its process has died.
    """
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, AssayError):
            raise error.cause from None
        raise
    except RayActorError as error:
        raise WorkerLostError(f"a process of the cluster has died ({first_line(error)}).") from None


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
