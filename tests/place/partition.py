"""Two nodes of Ray in network namespaces, and the wire between them cut: nobody says goodbye.

    unshare --user --map-root-user --net python -m tests.place.partition FOLDER

Prints JSON: `equal`, whether a training in two ranks whose second node is cut off after step 9 is
that of one that nothing happens to; `lost`, what was said then; `ended`, how often each of twelve
pieces of work has ended whose workers were cut off after the fourth; `nodes`, how many were left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tests.place.killing import RANKS, prepare
from tests.place.nodes import Node, alive, two_nodes
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS, rows

from assay.models.load import load
from assay.place.ray import cluster, workers
from assay.place.workers import Tell
from assay.progress import SILENT
from assay.train import adapters
from assay.train.job import StepReport, TrainingJob
from assay.train.sequences import alone
from assay.train.session import TrainResult, train_by_method

HOSTS = ("10.77.0.1", "10.77.0.2")
RUN = SETTINGS.model_copy(update={"epochs": 5, "learning_rate": 2e-3, "patience": 9})


@dataclass(frozen=True, slots=True)
class Nap:
    """Work that takes half a second."""

    number: int
    kept_bytes: int = 0

    def run(self, tell: Tell) -> int:
        time.sleep(0.5)
        return self.number


def ip(*words: str, within: str | None = None) -> None:
    """Call `ip`, in the namespace of a process."""
    enter = [] if within is None else ["nsenter", "-t", within, "-n"]
    subprocess.run([*enter, "ip", *words], check=True)


@contextmanager
def wired() -> Iterator[tuple[str, ...]]:
    """Another namespace at the other end of a wire; what enters it."""
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as holder:
        own, other = Path("/proc/self/ns/net"), Path(f"/proc/{holder.pid}/ns/net")
        while own.readlink() == other.readlink():
            time.sleep(0.01)
        pid = str(holder.pid)
        ip("link", "set", "lo", "up")
        ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", pid)
        ip("addr", "add", f"{HOSTS[0]}/24", "dev", "near")
        ip("link", "set", "near", "up")
        ip("link", "set", "lo", "up", within=pid)
        ip("addr", "add", f"{HOSTS[1]}/24", "dev", "far", within=pid)
        ip("link", "set", "far", "up", within=pid)
        try:
            yield ("nsenter", "-t", pid, "-n")
        finally:
            holder.kill()


def cut() -> None:
    """From now on nothing of one namespace reaches the other."""
    ip("link", "set", "near", "down")


def mend(node: Node) -> None:
    """As it was, with a node that has started anew."""
    ip("link", "set", "near", "up")
    node.kill()
    node.start()


def train(folder: Path, progress: Watcher, act: Callable[[], None]) -> TrainResult:
    """20 steps in two ranks, and what happens once after the ninth."""
    acts = [act]

    def on_step(report: StepReport) -> None:
        if report.step == 9 and not report.validation and acts:
            acts.pop()()

    return train_by_method(
        TrainingJob(
            load(str(folder.parent / "base")),
            alone(rows(16)),
            alone(rows(6, seed=1)),
            RUN,
            folder,
            progress,
            compute="float32",
            checkpoint_seconds=1e9,
            on_step=on_step,
            place=RANKS,
        )
    )


def same(one: TrainResult, other: TrainResult) -> bool:
    """Whether both are equal to the bit."""
    weights = [load_file(found.adapter / adapters.WEIGHTS) for found in (one, other)]
    alike = [torch.equal(weights[1][name], value) for name, value in weights[0].items()]
    return one.points == other.points and all(alike)


def work() -> list[int]:
    """What has ended of twelve naps by two workers, cut off from each other after the fourth."""
    ended: list[int] = []

    def end(index: int, outcome: Any) -> None:
        ended.append(outcome if isinstance(outcome, int) else -1)
        if len(ended) == 4:
            cut()

    with workers.workers(2, 1, 0, SILENT) as found:
        found.stay_unless(agreed=True)
        found.run([Nap(number) for number in range(12)], lambda index, event: None, end)
    return ended


def main(folder: Path) -> None:
    """Train, and let workers work, undisturbed and cut off."""
    torch.set_num_threads(1)
    cluster.LOOPBACK = HOSTS[0]
    prepare("training", folder)
    with wired() as within, two_nodes(HOSTS[1], within) as node:
        whole = train(folder / "whole", Watcher(), lambda: None)
        watcher = Watcher()
        again = train(folder / "cut", watcher, cut)
        mend(node)
        ended = work()
        found = {
            "equal": same(whole, again),
            "lost": [line for line in watcher.lines if "Going on" in line],
            "ended": sorted(ended),
            "nodes": len(alive()),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
