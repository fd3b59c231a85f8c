"""Who is alive, and what a worker that starts does for those that are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from assay.jobs import queue
from assay.jobs.fine_tuning import CHECK
from assay.jobs.service import dead_workers, own_name, recover
from assay.store.store import Store


def test_the_living_are_told_from_the_dead() -> None:
    host, process, started = own_name().rsplit(":", 2)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone, other = f"{host}:{ended.pid}:{started}", f"{host}:{process}:1"
    elsewhere, odd = f"not-{host}:{ended.pid}:{started}", "w"
    assert dead_workers({own_name(), gone, other, elsewhere, odd}) in (
        [gone, other],
        [other, gone],
    )


def test_a_worker_that_starts_takes_over_from_the_dead(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", CHECK, {})
    host = own_name().rsplit(":", 2)[0]
    assert queue.claim(store, f"{host}:{2**22 + 1}:1", [CHECK])
    left = tmp_path / "work" / "ftjob-over"
    left.mkdir(parents=True)
    recover(store)
    assert queue.read(store, id).status == "queued"
    assert not left.exists()
