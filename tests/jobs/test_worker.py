"""A worker does jobs, is stopped by wishes, and leaves nothing half said."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.preloaded import run_code

from assay.errors import DataError, ProviderError
from assay.jobs import queue, recovery
from assay.jobs.events import PLAIN, read_events
from assay.jobs.worker import Work, Worker
from assay.store.store import Store


def worker(store: Store, handler: Any) -> Worker:
    return Worker(store, {"count": handler}, "w", beat_seconds=0.05)


def test_a_job_is_done_and_its_events_and_progress_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", "count", {"to": 3})

    def count(work: Work) -> dict[str, Any]:
        work.say("Counting")
        with work.task("counting", work.payload["to"], "numbers") as bar:
            for n in range(work.payload["to"]):
                bar.advance(1, last=n)
            time.sleep(0.3)
        work.metrics("counted", {"n": 3})
        return {"n": 3}

    done = worker(store, count).once()
    assert done is not None
    assert (done.id, done.status, done.result) == (id, "succeeded", {"n": 3})
    assert done.progress == {
        "label": "counting",
        "done": 3.0,
        "total": 3,
        "unit": "numbers",
        "last": 2,
        "share": 1.0,
    }
    told = [(e.kind, e.message, e.data) for e in read_events(store, id)]
    assert told[2:4] == [("message", "Counting", None), ("metrics", "counted", {"n": 3})]
    assert worker(store, count).once() is None


def test_a_share_of_the_work_never_falls_also_where_a_job_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    queue.enqueue(store, "p", "count", {})

    def share_after(*told: float) -> float:
        job = queue.claim(store, "w", ["count"])
        assert job is not None
        work = Work(store, job, beat_seconds=0.02)
        with work.beating(), work.task("counting", 3, "numbers"):
            for share in told:
                work.set_share(share)
            time.sleep(0.2)
        (kept,) = queue.jobs(store, "p")
        queue.release(store, job)
        return float((kept.progress or {})["share"])

    assert share_after(0.5, 0.3) == 0.5  # a bar that goes back says nothing
    assert share_after(0.1) == 0.5
    assert share_after(0.1, 0.7) == 0.7


def test_progress_is_of_this_run_and_whole_at_the_end(tmp_path: Path) -> None:
    store, told = Store(tmp_path), list[Any]()
    id = queue.enqueue(store, "p", "count", {})
    killed = queue.claim(store, "w", ["count"])
    assert killed is not None
    before = {"label": "answering", "done": 0, "total": 45, "unit": "requests"}
    queue.beat(store, killed, before)
    queue.release(store, killed)

    def look(wanted: int | None) -> None:
        """What is told once a beat has gone out: a busy machine may be late with it."""
        done, late = object(), time.monotonic() + 10
        while done != wanted and time.monotonic() < late:
            time.sleep(0.02)
            done = (queue.read(store, id).progress or {}).get("done")
        told.append(done)

    def goes_on(work: Work) -> dict[str, Any]:
        look(None)
        with work.task("answering", 45, "requests") as bar:
            bar.advance(30)
        look(30)
        return {}

    done = worker(store, goes_on).once()
    assert done is not None
    assert told == [None, 30]
    assert done.progress == {**before, "done": 45, "share": 1.0}


def test_errors_end_the_job_with_a_sentence_and_not_the_worker(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ids = [queue.enqueue(store, "p", "count", {}) for _ in range(3)]
    errors = iter(
        [
            DataError("the file is empty."),
            ValueError("oh"),
            ProviderError("m refuses (422: a row).", plain="m refuses."),
        ]
    )

    def broken(_: Work) -> dict[str, Any]:
        raise next(errors)

    one = worker(store, broken)
    found = [one.once() for _ in ids]
    assert [job.status for job in found if job] == ["failed"] * 3
    assert [job.error for job in found if job] == [
        "the file is empty.",
        "an unexpected error: ValueError: oh",
        "m refuses (422: a row).",
    ]
    told = [read_events(store, id)[-1] for id in ids]
    assert [(event.kind, event.data) for event in told] == [
        ("error", None),
        ("error", None),
        ("error", {PLAIN: "m refuses."}),
    ]


@pytest.fixture(params=[signal.SIG_IGN, signal.default_int_handler], ids=["background", "front"])
def _started_in(request: pytest.FixtureRequest) -> Iterator[None]:
    """A shell ignores SIGINT for what it starts in the background."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_started_in")
@pytest.mark.parametrize(("wish", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_wish_interrupts_the_handler(tmp_path: Path, wish: str, status: str) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", "count", {})
    begun = threading.Event()

    def endless(_: Work) -> dict[str, Any]:
        begun.set()
        while True:
            time.sleep(0.01)

    def ask() -> None:
        begun.wait(10)
        queue.ask(store, id, wish)

    thread = threading.Thread(target=ask)
    thread.start()
    done = worker(store, endless).once()
    thread.join()
    assert done is not None
    assert done.status == status


def test_a_wish_wakes_a_handler_that_waits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", "count", {})

    def waits(_: Work) -> dict[str, Any]:
        queue.ask(store, id, "cancel")
        time.sleep(30)  # in the operating system: a signal to another thread ends nothing
        return {}

    began = time.monotonic()
    done = worker(store, waits).once()
    assert done is not None
    assert done.status == "cancelled"
    assert time.monotonic() - began < 25


def test_an_interrupt_of_the_worker_puts_the_job_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", "count", {})

    def interrupted(_: Work) -> dict[str, Any]:
        signal.raise_signal(signal.SIGINT)
        return {}

    with pytest.raises(KeyboardInterrupt):
        worker(store, interrupted).once()
    assert queue.read(store, id).status == "queued"


KILLED = """
import sys, time
from pathlib import Path
from assay.jobs.worker import Worker
from assay.store.store import Store

def count(work):
    file = Path(work.payload["file"])
    while (done := len(file.read_text()) if file.exists() else 0) < 40:
        with file.open("a") as out:
            out.write("x")
        time.sleep(0.02)
    return {"n": done}

Worker(Store(Path(sys.argv[1])), {"count": count}, "w", beat_seconds=0.1).once()
"""


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file = tmp_path / "count"
    id = queue.enqueue(store, "p", "count", {"file": str(file)})
    process = run_code(KILLED, str(tmp_path), output=tmp_path / "output")
    deadline = time.monotonic() + 60
    while not file.exists() or len(file.read_text()) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert queue.read(store, id).status == "running"
    time.sleep(1.1)  # times are kept in whole seconds
    assert recovery.revive(store, silence=timedelta(seconds=0)) == [id]
    assert run_code(KILLED, str(tmp_path), output=tmp_path / "output").wait(60) == 0
    done = queue.read(store, id)
    assert (done.status, done.attempts, done.result) == ("succeeded", 2, {"n": 40})
    assert len(file.read_text()) == 40
