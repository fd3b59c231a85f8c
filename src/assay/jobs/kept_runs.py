"""Checkpoints of trainings in the bucket: a job goes on from them at another machine.

    runs = KeptRuns(store, job, say)
    runs.bring(folder)                            # before a training looks for its checkpoint
    runs.keep(folder, files, is_left=stop.is_set) # after it has written one
    forget(store, job.id)                         # the job is over

Of each run of a job there is one archive, the newest, at `checkpoints/<job>/<run>` among the shared
files. It is named in a transaction that only the owner of the job can make. So what a worker writes
that was taken for dead is never used, and the next one replaces what it kept before.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path

from assay.errors import NotFoundError, StoreError
from assay.jobs import queue
from assay.jobs.queue import OVER, Job, JobLostError
from assay.store import archives, unnamed_objects
from assay.store.files import new_folder, write_atomic
from assay.store.objects import ObjectDamageError
from assay.store.store import Store

FOLDER = "checkpoints"
"""Of the archives, among the shared files."""
LEAST_S = 60.0
"""Between two copies, at least."""
MOST_SHARE = 0.1
"""At most this share of the time is spent copying."""
LAST_S = 10.0
"""Copies may take so long from the end of the work on: a worker that is stopped is killed soon."""
LOOK_S = 0.2
"""Between two looks whether the work has been left, or the job is over, while a copy is made."""
_STEPS = "checkpoints"
"""In a run's folder: its checkpoints, one folder each."""
_NOTE = ".kept"
"""In a run's folder: the object that was kept or brought last."""


class KeptRuns:
    """What a worker does with the checkpoints of a job.

    Args:
        job: as the worker has claimed it.
        say: tells whoever watches the job.
        is_over: whether nobody wants anything of the job that this worker could still keep.
    """

    def __init__(
        self,
        store: Store,
        job: Job,
        say: Callable[[str], None],
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store, self._job, self._say, self._is_over = store, job, say, is_over
        self._due = time.monotonic() + LEAST_S
        self._took = 0.0
        self._has_complained = False
        self._last: float | None = None  # when no copy may be under way any more

    def bring(self, folder: Path) -> None:
        """Let a run's folder hold what was kept of it, unless that came from this folder.

        Where it cannot be had, or is damaged, the run goes on from what is here.
        """
        if not self._is_copied(folder):
            return
        try:
            _bring(self._store, self._path(folder), folder)
        except (StoreError, NotFoundError) as error:
            self._say(
                f"The checkpoint in the bucket cannot be used, and training goes on from what this "
                f"machine has: {error}"
            )

    def keep(self, folder: Path, files: Mapping[str, Path], *, is_left: Callable[[], bool]) -> None:
        """Keep files of a run's folder in the place of those before, if it is time to.

        Where the bucket is away, that is said once, and tried again with a later checkpoint.

        Args:
            files: by their names in it.
            is_left: whether the work is left now. Then it is time unless the copy before failed or
                took longer than `LAST_S`, and whatever copy is under way is given up after as long;
                at once where the job is over.

        Raises:
            JobLostError: the job is another worker's by now; what that one keeps stays.
        """
        began = time.monotonic()
        if is_left():
            is_time = self._took <= LAST_S
        else:
            is_time = self._due <= began
            self._last = None  # of work before that was left, after which the job went on
        if self._is_over() or not self._is_copied(folder) or not is_time:
            return
        try:
            self._copy_in_time(folder, files, is_left)
            took = self._took = time.monotonic() - began
        except (StoreError, OSError) as error:
            took, self._took = time.monotonic() - began, math.inf
            if not self._has_complained:
                self._has_complained = True
                then = (
                    "another machine would go on from an earlier one"
                    if is_left()
                    else "training goes on, and a later one is tried"
                )
                self._say(f"A checkpoint could not be copied to the bucket; {then}: {error}")
        self._due = began + max(took + LEAST_S, took / MOST_SHARE)

    def _copy_in_time(
        self, folder: Path, files: Mapping[str, Path], is_left: Callable[[], bool]
    ) -> None:
        copied, given_up = Future[None](), threading.Event()

        def copy() -> None:
            try:
                self._copy(folder, files, given_up.is_set)
            except BaseException as error:
                copied.set_exception(error)
            else:
                copied.set_result(None)

        self._seconds_left(is_left)  # without any it is not begun
        threading.Thread(target=copy, name="copy of a checkpoint", daemon=True).start()
        try:
            while not (copied.done() or self._is_over()):
                wait([copied], self._seconds_left(is_left))
        finally:
            given_up.set()
        if not self._is_over():  # else what becomes of the copy is nobody's concern
            copied.result()

    def _seconds_left(self, is_left: Callable[[], bool]) -> float:
        """How long a copy is waited for before the next look.

        Raises:
            TimeoutError: the work was left, and copies have taken as long as they may since.
        """
        if self._last is None:
            if not is_left():
                return LOOK_S
            self._last = time.monotonic() + LAST_S
        if (left := self._last - time.monotonic()) <= 0:
            raise TimeoutError(f"it took more than {LAST_S:g} seconds.")
        return min(left, LOOK_S)

    def _copy(
        self, folder: Path, files: Mapping[str, Path], is_given_up: Callable[[], bool]
    ) -> None:
        archive = archives.pack(self._store, files)
        try:
            with queue.as_owner(self._store, self._job) as session:
                if is_given_up():  # the same worker may have the job again, see `queue.stop`
                    raise JobLostError(f"job {self._job.id} was left meanwhile.")
                gone = archives.name(session, self._path(folder), archive)
        except JobLostError:
            unnamed_objects.discard(self._store, archive.object)
            raise
        write_atomic(folder / _NOTE, archive.object)
        unnamed_objects.remove_doomed(self._store, gone)

    def _is_copied(self, folder: Path) -> bool:
        """A job may train in the folder of another project, which other machines do not have."""
        return self._store.bucket is not None and folder.is_relative_to(self._store.folder / "work")

    def _path(self, folder: Path) -> str:
        run = folder.relative_to(self._store.folder / "work").as_posix()
        return f"{FOLDER}/{self._job.id}/{run}"


def forget(store: Store, job: str) -> None:
    """Remove what was kept of a job that is over."""
    archives.forget_below(store, f"{FOLDER}/{job}")


def sweep(store: Store) -> None:
    """Remove what was kept of jobs that ended without a worker."""
    for job in {row.path.split("/")[1] for row in archives.rows_below(store, FOLDER)}:
        try:
            is_over = queue.read(store, job).status in OVER
        except NotFoundError:
            is_over = True
        if is_over:
            forget(store, job)


def copy_to_folder(store: Store) -> None:
    """Put what was kept to where a worker of this folder finds it, once there is no bucket.

    Raises:
        ObjectsError: the bucket is out of reach.
    """
    for row in archives.rows_below(store, FOLDER):
        _, _, run = row.path.split("/", 2)
        with suppress(NotFoundError, ObjectDamageError):  # whose job begins anew
            _bring(store, row.path, store.folder / "work" / run)


def _bring(store: Store, path: str, folder: Path) -> None:
    row = archives.row_of(store, path)
    note = folder / _NOTE
    if row is None or (note.exists() and note.read_text() == row.object):
        return
    with archives.unpacked(store, path) as (files, row):
        note.unlink(missing_ok=True)  # first: a kill in between lets it be brought again
        for file in files.glob("*.json"):
            write_atomic(folder / file.name, file.read_bytes())
        with new_folder(folder / _STEPS) as draft:
            for step in (files / _STEPS).iterdir():
                os.replace(step, draft / step.name)
        write_atomic(note, row.object)
