"""Work on two nodes of Ray, killed at ten random points: what is made is what would have been."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.figures import Figure
from tests.place.killing import prepare
from tests.place.nodes import REPOSITORY, Node, two_nodes, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.soak]
KINDS = ("process", "node", "driver")
KILLS = 10
PATIENCE_S = 600.0


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """The second one of two."""
    with two_nodes() as second:
        yield second


class Driver:
    """The process that reads the project and sends the work, begun again where it is killed."""

    def __init__(self, what: str, folder: Path, cluster: str) -> None:
        self.folder = folder
        self._command = [sys.executable, "-m", "tests.place.killing", what, str(folder)]
        own = {"RAY_ADDRESS": cluster, "RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"}
        self._environment = os.environ | own
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                self._command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log
            )

    def told(self) -> int:
        """How much it and those before it have told."""
        file = self.folder / "told"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def made(self) -> Any:
        """What it has made in the end."""
        assert self.process.wait(PATIENCE_S) == 0, (self.folder / "log").read_text()[-2000:]
        return json.loads((self.folder / "made.json").read_text())


def workers() -> list[psutil.Process]:
    """The processes of the cluster that do the work, on both nodes."""
    names = ("ray::_Rank", "ray::WorkerProcess")
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "".join(one.cmdline()[:1]).startswith(names):
                found.append(one)
    return found


def kill(kind: str, node: Node, driver: Driver, chance: random.Random) -> None:
    """SIGKILL to one of the workers, to all of the second node, or to the driver."""
    if kind == "process":
        chance.choice(wait_until(workers, "there is no worker", PATIENCE_S)).kill()
    elif kind == "node":
        hold = driver.folder / "hold"
        hold.touch()  # else it is done before a node that was killed is there again
        node.start()
        hold.unlink()
        time.sleep(chance.uniform(0, 0.1))
        node.kill()
        node.begin()
    else:
        driver.kill()
        driver.start()


@pytest.mark.parametrize("what", ["training", "comparison"])
def test_ten_kills_change_nothing(node: Node, tmp_path: Path, figure: Figure, what: str) -> None:
    import ray

    cluster = ray.get_runtime_context().gcs_address
    kept, folder = tmp_path / "kept", tmp_path / "work"
    folder.mkdir()
    prepare(what, folder)
    shutil.copytree(folder, kept)
    whole = Driver(what, folder, cluster).made()
    shutil.rmtree(folder)  # the same paths, for these are part of a result
    shutil.copytree(kept, folder)

    chance = random.Random(20)
    kinds = [*KINDS * (KILLS // len(KINDS)), chance.choice(KINDS)]
    chance.shuffle(kinds)
    driver = Driver(what, folder, cluster)
    for kind in kinds:
        due = driver.told() + chance.randint(1, 12 if what == "training" else 3)

        def reached(due: int = due) -> bool:
            assert driver.process.poll() is None, (folder / "log").read_text()[-2000:]
            return driver.told() >= due

        wait_until(reached, f"nothing was told before {kind}", PATIENCE_S)
        time.sleep(chance.uniform(0, 0.1))
        kill(kind, node, driver, chance)
    assert driver.made() == whole
    if what == "comparison":
        assert len(set(whole["answers"])) == len(whole["answers"])
    counts = ", ".join(f"{kind} {kinds.count(kind)}" for kind in KINDS)
    figure(f"kills of a {what} on two nodes of Ray ({counts}), survived", f"{KILLS} of {KILLS}")


def test_a_node_that_is_cut_off_changes_nothing(tmp_path: Path, figure: Figure) -> None:
    """A training and workers go on without it, once its silence is noticed."""
    apart = ["unshare", "--user", "--map-root-user", "--net"]
    probe = [*apart, "ip", "link", "add", "near", "type", "veth", "peer", "name", "far"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespaces")
    done = subprocess.run(
        [*apart, sys.executable, "-m", "tests.place.partition", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["equal"]
    assert len(found["lost"]) == 1
    assert found["ended"] == [*range(12)]
    assert found["nodes"] == 1
    figure("nodes of Ray cut off by a network namespace, training and workers went on", "2 of 2")
