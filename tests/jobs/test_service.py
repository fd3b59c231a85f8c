"""Who is alive, and what a worker that starts does for those that are not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assay.jobs import queue, service
from assay.jobs.fine_tuning import CHECK
from assay.jobs.service import WorkerSupervisor, dead_workers, recover, worker_name
from assay.store.store import Store


def test_the_living_are_told_from_the_dead() -> None:
    host, process, started = worker_name().rsplit(":", 2)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone, other = f"{host}:{ended.pid}:{started}", f"{host}:{process}:1"
    elsewhere, odd = f"not-{host}:{ended.pid}:{started}", "w"
    assert dead_workers({worker_name(), gone, other, elsewhere, odd}) in (
        [gone, other],
        [other, gone],
    )


def test_a_worker_that_starts_takes_over_from_the_dead(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", CHECK, {})
    host = worker_name().rsplit(":", 2)[0]
    assert queue.claim(store, f"{host}:{2**22 + 1}:1", [CHECK])
    left = tmp_path / "work" / "ftjob-over"
    left.mkdir(parents=True)
    recover(store)
    assert queue.read(store, id).status == "queued"
    assert not left.exists()


def test_a_watch_goes_on_when_no_process_can_be_had_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    pruned: list[Store] = []

    def popen(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(args)
        if len(started) <= 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        command = [sys.executable, "-c", "input()"]
        return subprocess_popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    subprocess_popen = subprocess.Popen
    monkeypatch.setattr(service, "RESTART_SECONDS", 0.05)
    monkeypatch.setattr(service.subprocess, "Popen", popen)
    monkeypatch.setattr(service.traces, "prune", pruned.append)
    store = Store(tmp_path)
    with WorkerSupervisor(tmp_path, store, lambda project, file: None):
        end = time.monotonic() + 20
        while len(started) < 4 or not pruned:
            assert time.monotonic() < end, started
            time.sleep(0.02)
    assert pruned[0] is store  # traces are pruned when it starts, and by its clock


def test_a_worker_that_waits_ends_with_a_sentence_where_the_database_is_broken(
    tmp_path: Path,
) -> None:
    (tmp_path / "assay.db").write_bytes(b"no database" * 1000)
    command = service.waiting_command(tmp_path, [CHECK])
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("assay: ")
    assert "Traceback" not in done.stderr
