"""A Ray cluster of two nodes on loopback: that of `local_cluster`, and a second node beside it.

    with two_nodes() as node:
        node.kill()     # SIGKILL to all that runs there: the machine is gone
        node.start()

The second node has an address, an object store and ports of its own, and the cluster's token.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL, SIGSTOP
from typing import TypeVar

import psutil
import pytest
from tests.serve.running import PATIENCE_S

from assay.place import around_ray
from assay.place.ray.cluster import local_cluster

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
SECOND = "127.0.0.2"
HEALTH = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_timeout_ms": "5000",
}
"""How soon a node is known to be dead: by itself Ray waits for a quarter of a minute."""


class Node:
    """A node with one processor that joins a cluster.

    Args:
        cluster: address of its head, to which this process is connected.
        host: the node's address.
        within: a command that runs the node's process, such as one that enters a namespace.
    """

    def __init__(self, cluster: str, host: str, within: tuple[str, ...]) -> None:
        self.host, self._cluster, self._within = host, cluster, within
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: str | None = None
        self._others: set[str] = set()

    def start(self) -> None:
        """Let it join, unless it is there, and wait until it has."""
        self.begin()
        wait_until(lambda: alive() - self._others, f"{self.host} does not join")

    def begin(self) -> None:
        """Let it join, unless it is there or on its way."""
        if self._process is not None:
            return
        self._others = alive()
        self._folder = tempfile.mkdtemp(prefix="ray-node-", dir="/tmp")
        command = [*self._within, sys.executable, "-m", "tests.place.node_process"]
        command += [self._cluster, self.host, self._folder]
        paths = f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self._process = subprocess.Popen(
            command, env={**os.environ, "RAY_AUTH_MODE": "token", "PYTHONPATH": paths}
        )

    def processes(self) -> list[psutil.Process]:
        """All that run there."""
        if self._process is None:
            return []
        own = psutil.Process(self._process.pid)
        return [own, *own.children(recursive=True)]

    def kill(self) -> None:
        """End all of them at once."""
        if self._process is None:
            return
        found = self.processes()
        for signal in (SIGSTOP, SIGKILL):  # so that none sees another one's end, and says something
            for one in found:
                with suppress(psutil.NoSuchProcess):
                    one.send_signal(signal)
        self._process.wait()
        psutil.wait_procs(found, timeout=PATIENCE_S)
        assert self._folder is not None
        shutil.rmtree(self._folder)
        self._process = self._folder = None


@contextmanager
def two_nodes(host: str = SECOND, within: tuple[str, ...] = ()) -> Iterator[Node]:
    """A cluster of this machine, with two processors, and of another node, with one; see `Node`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(around_ray, "_VARIABLES", {**around_ray._VARIABLES, **HEALTH})
        with local_cluster(2):
            import ray  # not before: it sets variables, which that takes back

            node = Node(ray.get_runtime_context().gcs_address, host, within)
            try:
                node.start()
                yield node
            finally:
                node.kill()


def alive() -> set[str]:
    """Ids of the nodes that the cluster takes for alive."""
    import ray

    return {one["NodeID"] for one in ray.nodes() if one["Alive"]}


def wait_until(condition: Callable[[], T], what: str, seconds: float = PATIENCE_S) -> T:
    """Wait for a function to return something that is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found
