"""A training that goes on at another machine: from the last checkpoint, to the same bits; and what
a worker that was taken for dead, a bucket that is away or a damaged object do to it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.jobs.tiny_tuning import PROJECT, done, queued
from tests.s3 import S3Server
from tests.store.test_objects import opened

from assay.jobs import kept_runs, queue, recovery, tuning_work
from assay.jobs.events import read_events
from assay.jobs.identity import worker_name
from assay.jobs.kept_runs import KeptRuns
from assay.jobs.queue import Job, JobLostError
from assay.models.versions import load_version
from assay.store import archives
from assay.store.files import sha256_file
from assay.store.store import Store
from assay.train.job import StepReport, TrainingJob

BUCKET = "s3://bkt/here"


def _left() -> bool:
    return True


def _goes_on() -> bool:
    return False


class Death(BaseException):
    """Ends a worker as SIGKILL does: nothing that it would do at its end is done."""


def die() -> None:
    raise Death


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checkpoint is kept."""
    monkeypatch.setattr(kept_runs, "LEAST_S", 0.0)
    monkeypatch.setattr(kept_runs, "MOST_SHARE", 1.0)


@pytest.fixture
def stores(tmp_path: Path, s3: S3Server, database: str) -> list[Store]:
    """Two folders of one state."""
    return [opened(tmp_path / name, BUCKET, database) for name in ("one", "two")]


def told(store: Store, id: str) -> list[str]:
    return [event.message for event in read_events(store, id)]


def kept(s3: S3Server) -> list[str]:
    return [name for name in s3.objects if "/archives/" in name]


def claimed(store: Store, id: str, worker: str) -> Job:
    job = queue.claim(store, worker, ["train"], id)
    assert job is not None
    return job


def weights(store: Store, version: str) -> str:
    loaded = load_version(store, version)  # holds the copy of one that is in a bucket
    return sha256_file(loaded.folder / "adapter_model.safetensors")


@pytest.mark.slow
@pytest.mark.usefixtures("_tiny", "_often", "one_thread")
def test_a_training_goes_on_at_another_machine_to_the_same_bits(
    tmp_path: Path, s3: S3Server, stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tuning_work,
        "TrainingJob",
        partial(TrainingJob, compute="float32", checkpoint_seconds=0),
    )
    whole = Store(tmp_path / "whole")
    alone = done(whole, queued(whole))
    assert alone.result is not None

    one, two = stores
    id = queued(one)
    note = tuning_work._Run.note

    at: dict[int, Callable[[], None]] = {11: die, 14: partial(signal.raise_signal, signal.SIGINT)}

    def noted(run: tuning_work._Run, report: StepReport) -> None:
        note(run, report)
        at.pop(report.step, lambda: None)()

    monkeypatch.setattr(tuning_work._Run, "note", noted)
    with pytest.raises(Death):
        done(one, id)
    assert len(kept(s3)) == 1  # the newest, of step 10, with the best weights, of step 8
    recovery.revive(two, dead_workers={worker_name()})
    monkeypatch.setattr(kept_runs, "LEAST_S", 3600.0)
    with pytest.raises(KeyboardInterrupt):  # whoever leaves in good order keeps all that is done
        done(two, id)
    tuning = done(one, id)
    assert tuning.status == "succeeded", tuning.error
    goes_on = [line for line in told(two, id) if line.startswith("Continuing")]
    assert goes_on == [f"Continuing after step {step} of 16." for step in (10, 14)]
    assert tuning.result is not None
    assert tuning.result["version"] == alone.result["version"]
    assert weights(two, tuning.result["version"]) == weights(whole, alone.result["version"])
    assert kept(s3) == []
    assert archives.rows_below(two, kept_runs.FOLDER) == []


def run_with(store: Store, data: bytes) -> tuple[Path, dict[str, Path]]:
    """A run's folder with a checkpoint, and what of it is kept."""
    folder = store.folder / "work" / "ftjob-1" / "run"
    step = folder / "checkpoints" / "step-00000001" / "weights.safetensors"
    step.parent.mkdir(parents=True, exist_ok=True)
    step.write_bytes(data)
    (folder / "choices.json").write_bytes(data)
    return folder, {str(path.relative_to(folder)): path for path in (step, folder / "choices.json")}


def weights_in(folder: Path) -> bytes:
    return (folder / "checkpoints" / "step-00000001" / "weights.safetensors").read_bytes()


@pytest.mark.usefixtures("_often")
def test_who_was_taken_for_dead_replaces_nothing(s3: S3Server, stores: list[Store]) -> None:
    one, two = stores
    id = queue.enqueue(one, PROJECT, "train", {})
    said: list[str] = []
    slow = KeptRuns(one, claimed(one, id, "slow"), said.append)
    slow.keep(*run_with(one, b"1"), is_left=_goes_on)
    recovery.revive(two, dead_workers={"slow"})
    job = claimed(two, id, "next")
    runs = KeptRuns(two, job, said.append)
    folder = two.folder / "work" / "ftjob-1" / "run"
    runs.bring(folder)
    assert (weights_in(folder), (folder / "choices.json").read_bytes()) == (b"1", b"1")
    with pytest.raises(JobLostError):
        slow.keep(*run_with(one, b"late"), is_left=_left)
    assert len(kept(s3)) == 1
    # What is here counts as long as nobody else has kept anything since.
    run_with(two, b"2")
    runs.bring(folder)
    assert weights_in(folder) == b"2"
    runs.keep(*run_with(two, b"3"), is_left=_goes_on)
    queue.release(two, job)
    KeptRuns(one, claimed(one, id, "slow"), said.append).bring(one.folder / "work/ftjob-1/run")
    assert weights_in(one.folder / "work" / "ftjob-1" / "run") == b"3"
    assert (len(kept(s3)), said) == (1, [])
    assert queue.ask(one, id, "cancel").wish == "cancel"
    kept_runs.sweep(one)
    assert len(kept(s3)) == 1  # a worker has it still
    recovery.revive(one, dead_workers={"slow"})
    kept_runs.sweep(two)
    assert kept(s3) == []


@pytest.mark.usefixtures("_often")
def test_a_training_goes_on_where_the_bucket_is_away_or_damaged(
    s3: S3Server, tmp_path: Path
) -> None:
    store = opened(tmp_path / "one", BUCKET)
    id = queue.enqueue(store, PROJECT, "train", {})
    said: list[str] = []
    runs = KeptRuns(store, claimed(store, id, "w"), said.append)
    folder, files = run_with(store, b"1" * 100)
    s3.before = lambda method, path: 400
    runs.keep(folder, files, is_left=_goes_on)
    runs.keep(folder, files, is_left=_goes_on)
    assert len(said) == 1
    assert "could not be copied to the bucket; training goes on" in said[0]
    s3.before = lambda method, path: None
    runs.keep(folder, files, is_left=_goes_on)
    [name] = kept(s3)

    (folder / kept_runs._NOTE).unlink()
    run_with(store, b"here")
    whole = s3.objects[name]
    for damaged in (whole[:-512], whole.replace(b"11", b"12", 1), None):
        s3.objects.pop(name)
        if damaged is not None:
            s3.objects[name] = damaged
        runs.bring(folder)
        assert weights_in(folder) == b"here"
        s3.objects[name] = whole
    s3.before = lambda method, path: 400
    runs.bring(folder)
    assert weights_in(folder) == b"here"
    assert len(said) == 5
    assert all("goes on from what this machine has" in line for line in said[1:])
    s3.before = lambda method, path: None
    runs.bring(folder)
    assert weights_in(folder) == b"1" * 100


def test_not_each_checkpoint_is_kept(s3: S3Server, tmp_path: Path) -> None:
    store = opened(tmp_path / "one", BUCKET)
    id = queue.enqueue(store, PROJECT, "train", {})
    runs = KeptRuns(store, claimed(store, id, "w"), lambda line: None)
    runs.keep(*run_with(store, b"1"), is_left=_goes_on)
    assert kept(s3) == []  # a training of less than a minute has not begun it
    runs.keep(*run_with(store, b"1"), is_left=_left)
    first = kept(s3)
    runs.keep(*run_with(store, b"2"), is_left=_goes_on)
    assert kept(s3) == first
    runs.keep(*run_with(store, b"3"), is_left=_left)  # it is paused
    assert len(kept(s3)) == 1
    assert kept(s3) != first


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("begins", ["before the stop", "after it", "before it is cancelled"])
def test_who_leaves_waits_no_longer_for_a_copy_which_then_counts_no_more(
    begins: str, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_cancelled = begins == "before it is cancelled"
    monkeypatch.setattr(kept_runs, "LAST_S", 1.0 if is_cancelled else 0.01)
    store = opened(tmp_path / "one", BUCKET)
    id = queue.enqueue(store, PROJECT, "train", {})
    said: list[str] = []
    job = claimed(store, id, "w")
    back, left = threading.Event(), threading.Event()
    runs = KeptRuns(store, job, said.append, lambda: is_cancelled and left.is_set())
    if begins == "after it":
        left.set()

    def wait(method: str, path: str) -> None:
        left.set()
        assert back.wait(60)

    s3.before = wait
    folder, files = run_with(store, b"1")
    runs.keep(folder, files, is_left=left.is_set)
    late = [] if is_cancelled else ["it took more than 0.01 seconds."]
    assert [line.split(": ")[1] for line in said] == late
    runs.keep(folder, files, is_left=left.is_set)  # not tried again
    queue.stop(store, job, "pause")
    queue.resume(store, id)
    claimed(store, id, "w")  # the same worker, by all that is known of it
    back.set()
    for thread in threading.enumerate():
        if thread.name == "copy of a checkpoint":
            thread.join()
    assert kept(s3) == []
    assert archives.rows_below(store, kept_runs.FOLDER) == []
    left.clear()
    s3.before = lambda method, path: None
    runs.keep(folder, files, is_left=left.is_set)  # with as much time as before
    assert len(kept(s3)) == 1


def test_a_run_in_the_folder_of_another_project_is_left_alone(s3: S3Server, tmp_path: Path) -> None:
    """As those of a project that was made of an account, whose comparison is a job of this one."""
    store, other = opened(tmp_path / "one", BUCKET), opened(tmp_path / "other", BUCKET)
    id = queue.enqueue(store, PROJECT, "compare", {})
    job = queue.claim(store, "w", ["compare"], id)
    assert job is not None
    runs = KeptRuns(store, job, pytest.fail)
    folder, files = run_with(other, b"1")
    runs.keep(folder, files, is_left=_left)
    runs.bring(folder)
    assert (kept(s3), weights_in(folder)) == ([], b"1")
