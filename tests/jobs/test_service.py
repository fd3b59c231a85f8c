"""Who is alive, and what a worker that starts does for those that are not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.errors import StoreError
from assay.jobs import queue, service
from assay.jobs.fine_tuning import CHECK, TRAIN
from assay.jobs.service import WorkerSupervisor, dead_workers, recover, worker_name
from assay.release import traces
from assay.store.store import Store


def renamed(**parts: object) -> str:
    """This process's name with some parts replaced."""
    named = dict(zip(("host", "process", "started", "place", "random"), NAME, strict=True))
    return ":".join(str(part) for part in {**named, **parts}.values())


NAME = worker_name().split(":")


def test_the_living_are_told_from_the_dead_and_from_those_that_nothing_is_known_of() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = {renamed(process=ended.pid), renamed(started=1)}
    # A container has a namespace of its own, another machine another kernel.
    unknown = {
        renamed(process=ended.pid, place="0" * 12),
        renamed(process=ended.pid, place="unknown"),
        f"{NAME[0]}:{ended.pid}:1",  # of an older version
        "w",
    }
    assert set(dead_workers({worker_name(), *dead, *unknown})) == dead


def test_two_containers_of_one_host_name_and_equal_process_numbers_have_two_names() -> None:
    """In namespaces of their own, where the system lets us make any."""
    code = (
        "import os; from assay.jobs.identity import worker_name; print(os.getpid(), worker_name())"
    )
    apart = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    told = [subprocess.run(apart, capture_output=True, text=True) for _ in range(2)]
    if any(one.returncode for one in told):
        pytest.skip(f"no namespaces here: {told[0].stderr.strip()}")
    (first, name), (second, other) = (one.stdout.split() for one in told)
    assert (first, second) == ("1", "1")
    assert name != other
    # Also where neither the start nor the namespace can be told, or one had the other's number.
    parts = [one.rsplit(":", 1)[1] for one in (name, other)]
    assert parts[0] != parts[1]
    # Process 1 is there in each, and in neither is it the other's; from outside nothing is known.
    assert dead_workers({name, other}) == []


def test_a_worker_that_starts_takes_over_from_the_dead(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", CHECK, {})
    assert queue.claim(store, renamed(process=2**22 + 1), [CHECK])
    left = tmp_path / "work" / "ftjob-over"
    left.mkdir(parents=True)
    recover(store)
    assert queue.read(store, id).status == "queued"
    assert not left.exists()


def test_a_supervisor_starts_workers_when_a_job_waits_whatever_fails_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started: list[Any] = []
    pruned: list[Store] = []
    looks: list[bool] = []

    def popen(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(args)
        if len(started) <= 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        command = [sys.executable, "-S", "-c", "input()"]
        return subprocess_popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def look(*args: Any) -> bool:
        if not looks:
            looks.append(False)
            raise StoreError("the database cannot be reached.")
        looks.append(is_waiting(*args))
        return looks[-1]

    def reach(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, started
            time.sleep(0.02)

    subprocess_popen, is_waiting = subprocess.Popen, queue.is_waiting
    monkeypatch.setattr(service, "RESTART_SECONDS", 0.05)
    monkeypatch.setattr(service, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(service, "Popen", popen)
    monkeypatch.setattr(queue, "is_waiting", look)
    monkeypatch.setattr(traces, "prune", pruned.append)
    store = Store(tmp_path)
    queue.enqueue(store, "p", TRAIN, {})
    with WorkerSupervisor(tmp_path, store, lambda project, file: None, trains=False):
        reach(lambda: len(looks) > 6 and bool(pruned))
        assert (
            not started
        )  # a server at rest has no worker, nor one that leaves trainings to others
        queue.enqueue(store, "p", CHECK, {})
        reach(lambda: len(started) >= 4)
    assert pruned[0] is store  # traces are pruned when it starts, and by its clock
    assert "the database cannot be reached" in caplog.text
