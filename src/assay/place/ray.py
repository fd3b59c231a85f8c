"""A Ray cluster and processes on it. The only file that imports Ray, and only when it is used.

Without RAY_ADDRESS a cluster is started for the length of the block: on this machine, bound to
127.0.0.1, with a token of its own, its files in a folder that goes with it. With RAY_ADDRESS the
cluster that it names is used as it is; this machine must belong to it.

The process that calls is rank 0, which reads and writes all files; Ray places the others, tells
when one has died, and ends them with the block.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from assay.config import CONFIG_FILE, Place
from assay.errors import AssayError, ConfigError, first_line
from assay.place.processes import ADDRESS, Follower, Processes, Task, check_processors
from assay.place.ranks import GlooRank, RankLostError, Ranks, first_store, listening, other_store
from assay.progress import Progress

LOOPBACK = "127.0.0.1"
PLACED_S = 60.0
"""How long a cluster may take to find room for all ranks."""
STORE_BYTES = 256 * 2**20
"""Of a cluster of this machine, for rows on their way to the ranks; what is more goes to disk."""
_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without it Ray binds to every address of the machine, whatever address it is told to be at.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Ray's is 15: beside other work rank 0 would wait for ranks that hardly get a processor.
    "RAY_worker_niceness": "0",
}


@contextmanager
def cluster(place: Place, threads: int, rows: int, progress: Progress) -> Iterator[Processes]:
    """Processes of the cluster at hand, or of one that is started, see `opening.open_place`."""
    import ray

    if ray.is_initialized():  # a program that uses Ray itself
        yield _Processes(place, threads, rows, progress)
    elif address := os.environ.get(ADDRESS):
        with _connected(address):
            yield _Processes(place, threads, rows, progress)
    else:
        check_processors(place)
        progress.say(f"Starting Ray on this machine for {place.size} processes.")
        with local_cluster(place.size):
            yield _Processes(place, 1, rows, progress)


@contextmanager
def local_cluster(processors: int) -> Iterator[None]:
    """A cluster of this machine that nobody else reaches; nothing of it is left afterwards."""
    folder = tempfile.mkdtemp(prefix="assay-ray-", dir="/tmp")  # a socket's path must be short
    try:
        with _environment(_VARIABLES | {"RAY_AUTH_TOKEN": _token()}):
            import ray
            from ray._private import ray_constants

            ray_constants.ENABLE_RAY_CLUSTER = False  # where Ray was imported before
            try:
                with _signals_kept():
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


@cache
def _token() -> str:
    """Without it nobody is let in. Ray reads it once in a process, and without one it would keep a
    token in the user's home."""
    return secrets.token_hex(32)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    import ray

    try:
        with _signals_kept():
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


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; whoever heard it before still does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Ray's variables are these alone; afterwards they are as they were, what Ray sets included."""

    def of_ray() -> dict[str, str]:
        names = [n for n in os.environ if n.startswith("RAY_") or n == "PYTHONBREAKPOINT"]
        return {name: os.environ[name] for name in names}

    before = of_ray()

    def clear() -> None:
        for name in of_ray():
            del os.environ[name]

    clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        clear()
        os.environ.update(before)


class _Processes:
    """Those of the cluster that this process is connected to."""

    def __init__(self, place: Place, processors: int, rows: int, progress: Progress) -> None:
        import ray

        self._size, self._processors = place.size, processors
        self._host = ray.util.get_node_ip_address()
        away = elsewhere(ray.nodes(), self._host)
        if away and not place.consent:
            raise ConfigError(
                f"this project has not agreed that its rows leave this machine. {rows} rows would "
                f"go to machines of the Ray cluster ({', '.join(away)}).",
                where=f"{CONFIG_FILE}, place.consent",
                fix="To allow it, set place.consent: true.",
            )
        if away:
            progress.say(f"Sending {rows} rows to machines of the cluster: {', '.join(away)}.")

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
            _each(ray.get, [actor.prepare.remote(make, given) for actor in actors])
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
        mine = {**each, f"node:{self._host}": 0.001}
        group = placement_group([mine, *[each] * (self._size - 1)], strategy="SPREAD")
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
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is rank 0's to hear

    def prepare(self, make: Callable[[Task], Follower], task: Task) -> None:
        """Load what is needed before the first step."""
        self._follow = make(task)

    def run(self, number: int, size: int, host: str, port: int) -> None:
        """Take part to the end."""
        import ray

        store = other_store(host, port, size)
        self._follow(GlooRank(number, size, ray.util.get_node_ip_address(), store))


def elsewhere(nodes: Sequence[Mapping[str, Any]], here: str) -> list[str]:
    """Addresses of a cluster's machines that are not this one, of what `ray.nodes` returns."""
    alive = {str(node["NodeManagerAddress"]) for node in nodes if node["Alive"]}
    return sorted(alive - {here})


def _each(call: Callable[[Any], Any], references: Sequence[Any]) -> None:
    """Wait for all; what one of them has raised is raised as what it was."""
    from ray.exceptions import RayActorError, RayTaskError

    try:
        for reference in references:
            call(reference)
    except RayTaskError as error:
        if isinstance(error.cause, AssayError):
            raise error.cause from None
        raise
    except RayActorError as error:
        raise _ended(error) from None


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
