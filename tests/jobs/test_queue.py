"""One worker a job, whatever happens to the workers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.databases import new_database
from tests.preloaded import run_code

from assay.errors import AssayError, StateError
from assay.jobs import queue, recovery
from assay.jobs.events import read_events
from assay.jobs.queue import JobLostError
from assay.store.store import Store
from assay.store.tables import JobEventRow, JobRow, now

WORKERS, JOBS = 8, 120
TAKE_ALL = """
import sys
from pathlib import Path
from assay.jobs import queue, recovery
from assay.store.store import Store
store = Store(Path(sys.argv[1]), sys.argv[2])
while (job := queue.claim(store, sys.argv[3], ["count"])) is not None:
    print("did", job.id, flush=True)
    queue.finish(store, job, {"by": sys.argv[3]})
"""


def test_eight_workers_never_do_a_job_twice(database: str, tmp_path: Path) -> None:
    store = Store(tmp_path, database)
    ids = [queue.enqueue(store, "p", "count", {"n": n}) for n in range(JOBS)]
    outputs = [tmp_path / f"output-{n}.txt" for n in range(WORKERS)]
    started = [
        run_code(TAKE_ALL, str(tmp_path), database, f"w{n}", output=output)
        for n, output in enumerate(outputs)
    ]
    assert [process.wait(120) for process in started] == [0] * WORKERS
    done = [re.findall(r"^did (\S+)$", output.read_text(), re.MULTILINE) for output in outputs]
    assert sorted(id for one in done for id in one) == sorted(ids)
    for name, own in zip([f"w{n}" for n in range(WORKERS)], done, strict=True):
        for id in own:
            job = queue.read(store, id)
            assert (job.status, job.attempts, job.result) == ("succeeded", 1, {"by": name})


def test_no_worker_waits_for_rows_that_another_is_taking(tmp_path: Path, postgres: str) -> None:
    """As it would behind a worker whose machine has lost its network with a row in hand."""
    impatient = f"{new_database(postgres)}&options=-c%20lock_timeout%3D10s"
    store = Store(tmp_path, impatient)
    first, second = (queue.enqueue(store, "p", "count", {}) for _ in range(2))
    with store.session() as held:
        assert held.get(JobRow, first, with_for_update=True)
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(queue.claim, store, "w", ["count"]).result(timeout=60)
            assert job is not None
            assert job.id == second
            assert pool.submit(queue.claim, store, "w", ["count"]).result(timeout=60) is None
    job = queue.claim(store, "w", ["count"])
    assert job is not None
    assert job.id == first


@pytest.mark.parametrize("ahead", [-60, 60])
def test_a_machine_whose_clock_is_wrong_revives_no_living_job_and_loses_none(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    store = Store(tmp_path, database)
    id = queue.enqueue(store, "p", "count", {})

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=ahead)

    with monkeypatch.context() as there:
        there.setattr("assay.store.tables.base.datetime", Wrong)
        job = queue.claim(store, "w", ["count"])
        assert job is not None
    assert recovery.revive(store) == []
    with monkeypatch.context() as there:
        there.setattr("assay.store.tables.base.datetime", Wrong)
        queue.beat(store, job)
        assert recovery.revive(store) == []
    # To less than a second: nobody has to be silent for longer than is said.
    assert recovery.revive(store, timedelta(seconds=30)) == []
    time.sleep(0.3)
    assert recovery.revive(store, timedelta(seconds=0.2)) == [id]


def test_the_longest_waiting_of_the_known_kinds_comes_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    other = queue.enqueue(store, "p", "other", {})
    first = queue.enqueue(store, "p", "count", {})
    with store.session() as session:
        session.execute(
            update(JobRow).where(JobRow.id == first).values(created=now() - timedelta(seconds=9))
        )
    last, named = (queue.enqueue(store, "p", "count", {}) for _ in range(2))
    assert queue.waiting(store, ["count"], 2) == [first, last]
    for wanted, taken in ((named, named), (named, None), (None, first)):
        claimed = queue.claim(store, "w", ["count"], wanted)
        assert (claimed.id if claimed else None) == taken
    assert queue.read(store, other).status == "queued"


def _silent(store: Store, id: str) -> None:
    with store.session() as session:
        session.execute(
            update(JobRow).where(JobRow.id == id).values(beat=now() - 2 * recovery.SILENCE)
        )


def test_the_job_of_a_dead_worker_is_taken_up_and_the_dead_cannot_end_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", "count", {})
    first = queue.claim(store, "dead", ["count"])
    assert first is not None
    assert recovery.revive(store) == []
    _silent(store, id)
    assert recovery.revive(store) == [id]
    second = queue.claim(store, "dead", ["count"])  # the same name: only the attempt differs
    assert second is not None
    assert second.attempts == 2
    for act in (
        lambda: queue.finish(store, first, {}),
        lambda: queue.fail(store, first, "x"),
        lambda: queue.beat(store, first),
    ):
        with pytest.raises(JobLostError, match="another worker"):
            act()
    queue.finish(store, second, {"n": 1})
    assert queue.read(store, id).status == "succeeded"
    said = [event.message for event in read_events(store, id)]
    assert said == [
        "Queued.",
        "Started.",
        "Its worker ended unexpectedly; queued again.",
        "Taken up again.",
        "Done.",
    ]


def test_a_job_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", "count", {})
    for _ in range(recovery.MOST_ATTEMPTS):
        assert queue.claim(store, "w", ["count"]) is not None
        _silent(store, id)
        recovery.revive(store)
    job = queue.read(store, id)
    assert job.status == "failed"
    assert job.error == "5 workers ended unexpectedly while running it."


@pytest.mark.parametrize(("wish", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_wishes(tmp_path: Path, wish: str, status: str) -> None:
    store = Store(tmp_path)
    waiting, running = (queue.enqueue(store, "p", kind, {}) for kind in ("a", "b"))
    assert queue.ask(store, waiting, wish).status == status
    job = queue.claim(store, "w", ["b"])
    assert job is not None
    assert queue.beat(store, job, {"done": 1}) is None
    assert queue.ask(store, running, wish).status == "running"
    assert queue.beat(store, job) == wish
    queue.stop(store, job, wish)
    ended = queue.read(store, running)
    assert (ended.status, ended.progress) == (status, {"done": 1})
    if wish == "pause":
        assert queue.resume(store, running).status == "queued"
        assert queue.claim(store, "w", ["b"]) is not None
    else:
        with pytest.raises(AssayError, match="cancelled, not paused"):
            queue.resume(store, running)
        with pytest.raises(AssayError, match="is over"):
            queue.ask(store, running, "pause")


def test_a_wish_outlives_the_worker(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = queue.enqueue(store, "p", "count", {})
    assert queue.claim(store, "w", ["count"]) is not None
    queue.ask(store, id, "cancel")
    _silent(store, id)
    assert recovery.revive(store) == []
    assert queue.read(store, id).status == "cancelled"


def test_jobs_of_a_project_the_newest_first_and_none_of_another(tmp_path: Path) -> None:
    store = Store(tmp_path)
    queue.enqueue(store, "q", "count", {})
    ids = [queue.enqueue(store, "p", "count", {"n": n}) for n in range(3)]
    assert {job.id for job in queue.jobs(store, "p")} == set(ids)
    assert len(queue.jobs(store, "p", ("count", "other"))) == 3
    assert queue.jobs(store, kinds=("other",)) == []
    assert len(queue.jobs(store)) == 4
    with pytest.raises(AssayError, match="no job"):
        queue.read(store, "job-none")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_job_is_handed_on_in_its_old_place(store: Store) -> None:
    id = queue.enqueue(store, "p", "look", {})
    later = queue.enqueue(store, "p", "do", {})
    job = queue.claim(store, "w", ["look"])
    assert job is not None
    queue.hand_on(store, job, "do")
    after = queue.read(store, id)
    assert (after.kind, after.status, after.attempts) == ("do", "queued", 0)
    again = queue.claim(store, "w", ["do"])
    assert again is not None
    assert again.id == min(id, later, key=lambda one: (queue.read(store, one).created, one))
    with pytest.raises(queue.JobLostError):
        queue.hand_on(store, job, "do")


@pytest.mark.parametrize(("wish", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_wish_is_granted_when_a_job_is_handed_on(store: Store, wish: str, status: str) -> None:
    id = queue.enqueue(store, "p", "look", {})
    job = queue.claim(store, "w", ["look"])
    assert job is not None
    queue.ask(store, id, wish)
    queue.hand_on(store, job, "do")
    after = queue.read(store, id)
    assert (after.kind, after.status, after.wish) == ("do", status, None)


LEAVING: dict[str, Callable[[Store, queue.Job], None]] = {
    "done": lambda store, job: queue.finish(store, job, {}),
    "handed on": lambda store, job: queue.hand_on(store, job, "do"),
    "failed": lambda store, job: queue.fail(store, job, "oh"),
    "paused": lambda store, job: queue.stop(store, job, "pause"),
    "put back": queue.release,
}


@pytest.mark.parametrize("leaving", LEAVING)
def test_a_job_that_was_to_be_cancelled_is_whatever_its_worker_says(
    store: Store, leaving: str
) -> None:
    id = queue.enqueue(store, "p", "look", {})
    job = queue.claim(store, "w", ["look"])
    assert job is not None
    queue.ask(store, id, "pause")
    queue.ask(store, id, "cancel")
    with pytest.raises(StateError, match="being cancelled"):
        queue.ask(store, id, "pause")
    LEAVING[leaving](store, job)
    after = queue.read(store, id)
    assert (after.status, after.wish, after.worker) == ("cancelled", None, None)
    assert after.ended is not None
    assert read_events(store, id)[-1].message == "Cancelled."


def test_a_pause_is_granted_when_a_worker_leaves(store: Store) -> None:
    id = queue.enqueue(store, "p", "do", {})
    job = queue.claim(store, "w", ["do"])
    assert job is not None
    queue.ask(store, id, "pause")
    queue.release(store, job)
    assert queue.read(store, id).status == "paused"


def test_only_its_owner_writes_beside_a_job(store: Store) -> None:
    id = queue.enqueue(store, "p", "do", {})
    job = queue.claim(store, "w", ["do"])
    assert job is not None
    with queue.as_owner(store, job) as session:
        session.add(JobEventRow(job=id, kind="message", message="mine"))
    recovery.revive(store, dead_workers=["w"])
    again = queue.claim(store, "v", ["do"])
    assert again is not None
    with pytest.raises(queue.JobLostError), queue.as_owner(store, job) as session:
        session.add(JobEventRow(job=id, kind="message", message="not mine"))
    with pytest.raises(queue.JobLostError):
        queue.note(store, job, "not mine")
    said = [event.message for event in read_events(store, id)]
    assert "mine" in said
    assert "not mine" not in said


def test_a_worker_that_is_known_to_be_dead_is_not_waited_for(store: Store) -> None:
    ids = [queue.enqueue(store, "p", "do", {}) for _ in range(2)]
    for name in ("dead", "alive"):
        assert queue.claim(store, name, ["do"])
    assert recovery.running_workers(store) == {"dead", "alive"}
    [revived] = recovery.revive(store, dead_workers=["dead"])
    assert revived in ids
    assert recovery.running_workers(store) == {"alive"}


def test_a_pause_does_not_count_as_a_death(store: Store) -> None:
    id = queue.enqueue(store, "p", "do", {})
    for _ in range(recovery.MOST_ATTEMPTS + 1):
        job = queue.claim(store, "w", ["do"])
        assert job is not None
        queue.stop(store, job, "pause")
        queue.resume(store, id)
    assert queue.claim(store, "w", ["do"])
    assert recovery.revive(store, dead_workers=["w"]) == [id]


def test_only_the_time_that_workers_had_a_job_is_counted(store: Store) -> None:
    id = queue.enqueue(store, "p", "do", {})

    def worked(minutes: int) -> queue.Job:
        """Taken up, so many minutes ago."""
        assert queue.claim(store, "w", ["do"])
        ago = now() - timedelta(minutes=minutes)
        with store.session() as session:
            session.execute(update(JobRow).values(taken=ago))
        return queue.read(store, id)

    queue.stop(store, worked(10), "pause")
    with store.session() as session:  # it was paused for a day
        session.execute(update(JobRow).values(started=now() - timedelta(days=1)))
    queue.resume(store, id)
    worked(20)
    assert recovery.revive(store, dead_workers=["w"]) == [id]
    queue.finish(store, worked(30), {})
    assert queue.read(store, id).worked_s == pytest.approx(3600, abs=30)
