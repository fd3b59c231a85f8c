"""A Ray cluster to be connected to. These files alone import Ray, and only when it is used.

Without RAY_ADDRESS a cluster is started for the length of the block: on this machine, bound to
127.0.0.1, with a token of its own, its files in a folder that goes with it. With RAY_ADDRESS the
cluster that it names is used as it is; this machine must belong to it.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from assay.errors import AssayError, ConfigError, first_line
from assay.place.around_ray import ray_variables, signals_kept
from assay.place.processes import ADDRESS, check_processors
from assay.place.workers import WorkerLostError
from assay.progress import Progress

LOOPBACK = "127.0.0.1"
STORE_BYTES = 256 * 2**20
"""Of a cluster of this machine, for rows on their way to the ranks; what is more goes to disk."""


@contextmanager
def cluster(
    processes: int, setting: str, threads: int, progress: Progress, *, gpus: int = 0
) -> Iterator[None]:
    """A cluster to be connected to, the one of RAY_ADDRESS or of this machine alone.

    Args:
        setting: of `place`, that says how many processes.
        threads: of each of them.
        gpus: of each of them.
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
        with local_cluster(processes * threads, gpus=None if gpus else 0):
            yield


@contextmanager
def local_cluster(processors: int, *, gpus: int | None = 0) -> Iterator[None]:
    """A cluster of this machine that nobody else reaches; nothing of it is left afterwards.

    Args:
        gpus: None: those that Ray finds.
    """
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
                        num_gpus=gpus,
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


def on_node(host: str) -> dict[str, float]:
    """What a process asks for that shall be on this machine."""
    return {f"node:{host}": 0.001}


def value(reference: Any) -> Any:
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
