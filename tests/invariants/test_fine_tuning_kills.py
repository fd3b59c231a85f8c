"""Server and worker killed with SIGKILL: nothing lost, nothing doubled, the same weights."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from tests.jobs import killing
from tests.jobs.killing import left_behind, told
from tests.jobs.tiny_tuning import MODEL, PROJECT, done, lines, queued, write_cache
from tests.preloaded import printed
from tests.serve.process import Server, server

from assay.jobs import fine_tuning, tuning_work
from assay.models.versions import load_version
from assay.store.store import Store

STEPS, EVALUATIONS = 60, 15


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cache(tmp_path_factory.mktemp("cache"))


def _kill_workers(folder: Path, cache: Path, kills: int, seed: int, *kind: str) -> dict[str, Any]:
    given = [str(folder), str(kills), str(seed), *kind]
    output = printed(killing.run, *given, folder=folder, ASSAY_CACHE=str(cache))
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def _check(found: dict[str, Any]) -> None:
    whole, killed = found["whole"], found["killed"]
    assert whole["status"] == "succeeded", whole["error"]
    assert killed == whole
    steps = [(f["step"], "train_loss" in f) for f in killed["figures"]]
    assert len(set(steps)) == len(steps)
    assert len(killed["names"]) == 4  # the model and three checkpoints
    assert killed["work"] == []
    assert killed["bytes"] == len(killed["files"]) == 2


@pytest.mark.slow
def test_killed_workers_change_nothing(tmp_path: Path, cache: Path) -> None:
    """Three: after a step, at a write, before a commit."""
    found = _kill_workers(tmp_path, cache, kills=3, seed=0)
    assert len(found["deaths"]) == 3
    _check(found)


@pytest.mark.soak
def test_a_killed_worker_changes_nothing_of_what_a_judge_teaches(
    tmp_path: Path, cache: Path
) -> None:
    found = _kill_workers(tmp_path, cache, 1, 0, "judged")
    assert len(found["deaths"]) == 1
    assert found["killed"] == found["whole"]
    assert found["whole"]["status"] == "succeeded", found["whole"]["error"]
    assert len(found["whole"]["checkpoints"]) == 2


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_twenty_killed_workers_change_nothing(tmp_path: Path, cache: Path, seed: int) -> None:
    found = _kill_workers(tmp_path, cache, kills=4, seed=seed)
    assert len(found["deaths"]) >= 3
    _check(found)


def _wait(condition: Any, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def _create(running: Server) -> str:
    http = httpx.Client(
        base_url=f"{running.url}/v1", headers={"Authorization": f"Bearer {running.key}"}
    )
    form = {"files": {"file": ("rows.jsonl", lines())}, "data": {"purpose": "fine-tune"}}
    file = http.post("/files", **form).json()["id"]  # type: ignore[arg-type]
    body = {
        "model": MODEL,
        "training_file": file,
        "seed": 7,
        "hyperparameters": {"n_epochs": EVALUATIONS, "batch_size": 3},
    }
    return str(http.post("/fine_tuning/jobs", json=body).json()["id"])


def _kill_served(folder: Path, chance: random.Random, kills: tuple[str, ...]) -> None:
    """A served folder whose server or training worker is killed; then what is left is checked."""
    state, killed = folder / ".assay", list(kills)
    with server(folder) as running:
        id = _create(running)
        while killed and killed[0] == "worker":
            _after_steps(state, chance)
            store = Store(state)
            worker = _worker_of(store, id)
            os.kill(worker, signal.SIGKILL)
            killed.pop(0)
            _wait(
                lambda worker=worker, store=store: _worker_of(store, id) not in (worker, 0),
                60,
                "no worker has taken its place",
            )
        if killed:
            _after_steps(state, chance)
            others = psutil.Process(running.process.pid).children(recursive=True)
            running.process.kill()
            running.process.wait()
            killed.pop(0)
            _, alive = psutil.wait_procs(others, timeout=30)
            assert not alive, "a worker has outlived its server"
    with server(folder):
        store = Store(state)
        _wait(
            lambda: fine_tuning.find(store, PROJECT, id).status in ("succeeded", "failed"),
            180,
            "the job does not end",
        )
        _wait(lambda: not list((state / "work").glob("ftjob-*")), 10, "its folder is left")
    found = left_behind(state, id)
    assert found["version"] is not None, found["error"]
    settings = load_version(Store(state), found["version"]).record.settings

    plain = Store(folder / "plain")
    other = queued(plain, hyperparameters={"n_epochs": EVALUATIONS, "batch_size": 3})
    with pytest.MonkeyPatch.context() as patch:
        job = partial(tuning_work.TrainingJob, compute=settings["compute"])
        patch.setattr(tuning_work, "TrainingJob", job)
        threads = torch.get_num_threads()
        torch.set_num_threads(settings["threads"])
        try:
            done(plain, other)
        finally:
            torch.set_num_threads(threads)
    whole = left_behind(plain.folder, other)
    _check({"whole": whole, "killed": found})


def _after_steps(state: Path, chance: random.Random) -> None:
    due = told(state) + chance.randint(2, 6)
    _wait(lambda: told(state) >= due, 120, "no further step was told")
    time.sleep(chance.uniform(0, 0.05))


def _worker_of(store: Store, id: str) -> int:
    """The process that has the job, 0 when none has."""
    from assay.jobs import queue

    job = queue.read(store, id)
    return int(job.worker.rsplit(":", 4)[1]) if job.worker and job.status == "running" else 0


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_server_change_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(cache))
    _kill_served(tmp_path, random.Random(1), ("worker", "server"))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(7))
def test_twenty_kills_of_server_and_worker(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(cache))
    _kill_served(tmp_path, random.Random(seed), ("worker", "worker", "server"))
