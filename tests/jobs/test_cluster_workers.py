"""Jobs that workers of a cluster do, without one: who is started for what, and what is left."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from assay.config import Place
from assay.errors import ConfigError
from assay.jobs import cluster_workers, queue
from assay.jobs.cluster_workers import ClusterSupervisor, JobWork
from assay.jobs.fine_tuning import CHECK, TRAIN
from assay.place.workers import News, WorkerLostError, WorkStoppedError
from assay.progress import SILENT
from assay.project.jobs import on_cluster
from assay.project.jobs.on_cluster import work_on_cluster
from assay.project.workspace import Workspace
from assay.store.store import Store


@dataclass
class Far:
    """A worker of which the test says what becomes of it."""

    ready: bool = True
    job: str = ""
    result: News = field(default_factory=lambda: News([]))
    stopped: bool = False
    killed: bool = False

    def begin(self, work: JobWork) -> None:
        self.job = work.job

    def news(self) -> News:
        return self.result

    def stop(self) -> None:
        self.stopped, self.result = True, News([], done=True, error=WorkStoppedError())

    def kill(self) -> None:
        self.killed = True


class Script:
    """A cluster that does the next step of the test whenever its workers are waited for."""

    def __init__(self, *steps: Callable[[list[Far]], None]) -> None:
        self.steps, self.workers, self.ready = list(steps), list[Far](), True

    def elsewhere(self) -> Sequence[str]:
        return ()

    def start(self, *, may_leave: bool) -> Far:
        assert may_leave
        self.workers.append(Far(self.ready))
        return self.workers[-1]

    def wait(self, workers: Sequence[Any], seconds: float) -> None:
        if not self.steps:
            raise KeyboardInterrupt
        self.steps.pop(0)(self.workers)


def test_each_waiting_job_gets_a_worker_as_far_as_there_may_be_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    jobs = [queue.enqueue(store, "p", kind, {}) for kind in (CHECK, TRAIN, "watch", TRAIN)]
    wanted = [jobs[0], jobs[1], jobs[3]]

    def two_at_once(workers: list[Far]) -> None:
        assert [far.job for far in workers] == wanted[:2]
        claimed = queue.claim(store, "far", (CHECK, TRAIN), wanted[0])
        assert claimed is not None
        queue.finish(store, claimed, {})
        workers[0].result = News([], done=True, result="")

    def the_third_after_the_first(workers: list[Far]) -> None:
        assert [far.job for far in workers] == wanted
        assert workers[0].killed  # its processors are free
        # Its machine dies: the job waits again, and the next worker is not asked for at once.
        workers[2].result = News([], done=True, error=WorkerLostError("it has died."))

    def after_a_pause(workers: list[Far]) -> None:
        assert len(workers) == 3
        assert "it has died." in caplog.text
        monkeypatch.setattr(cluster_workers, "PAUSE_S", 0.0)
        cluster.ready = False

    def no_room(workers: list[Far]) -> None:
        assert [far.job for far in workers] == [*wanted, ""]
        monkeypatch.setattr(cluster_workers, "STARTED_S", -1.0)

    def nobody_waits_for_it_any_more(workers: list[Far]) -> None:
        assert "no room yet for 1 more" in caplog.text
        queue.ask(store, wanted[2], "cancel")

    def gone(workers: list[Far]) -> None:
        assert workers[3].killed
        assert not workers[1].stopped

    cluster = Script(
        two_at_once,
        the_third_after_the_first,
        after_a_pause,
        no_room,
        nobody_waits_for_it_any_more,
        gone,
    )
    supervisor = ClusterSupervisor(store, cluster, {}, most=2, may_leave=True)
    with pytest.raises(KeyboardInterrupt):
        supervisor.run()
    assert [far.stopped for far in cluster.workers] == [False, True, False, False]
    assert all(far.killed for far in cluster.workers)  # though interrupted while it waited for them


def test_a_worker_has_a_folder_that_names_the_state_and_puts_its_job_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = "import sys; print('first'); print('no such database', file=sys.stderr); sys.exit(1)"
    codes, started = ["import sys; sys.stdin.read()", said], []

    def start(folder: Path, *options: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        started.append((options, (folder / ".assay" / "database.json").read_text()))
        command = [sys.executable, "-S", "-c", codes.pop(0)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
        )

    monkeypatch.setattr(cluster_workers, "start_worker", start)
    monkeypatch.setattr(cluster_workers, "IDLE_SECONDS", 0.02)
    work = JobWork("ftjob-1", {".assay/database.json": "{}"})

    def unwanted(_: object) -> None:
        raise WorkStoppedError

    with pytest.raises(WorkStoppedError):
        work.run(unwanted)
    assert work.run(lambda _: None) == "no such database"
    assert started == [(("--job", "ftjob-1"), "{}")] * 2
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_other_machines_do_not_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="every machine reaches"):
        work_on_cluster(Workspace(tmp_path), Place(on="ray"), SILENT, consent=True)


def test_more_gpus_are_asked_for_than_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(on_cluster, "_files_of", lambda _: {})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    place = Place(on="ray", workers=2)
    with pytest.raises(ConfigError, match="1 GPU here for 2 workers"):
        work_on_cluster(Workspace(tmp_path), place, SILENT, consent=True, gpu=True)
