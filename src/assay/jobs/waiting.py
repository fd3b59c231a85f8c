"""A worker that waits for a job: a small process, which becomes a whole one when there is one.

    python -m assay.jobs.waiting STATE_FOLDER [KIND ...]

A worker that can do any job has loaded 200 MB before the first, and what a training has used does
not all go back to the system after it. So a watched worker (`assay.jobs.service`) begins as this
program, which looks into the queue, and becomes this program again when no job comes for a while.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Collection
from pathlib import Path

from assay.errors import AssayError
from assay.jobs import queue, recovery, service
from assay.jobs.batches import SERVED
from assay.jobs.worker import IDLE_SECONDS, REVIVE_SECONDS
from assay.log_lines import printable
from assay.store.database import open_again
from assay.store.store import Store


def wait(store: Store, kinds: Collection[str]) -> bool:
    """Until a job of these kinds waits (of any that a worker does, where none are named), or
    standard input ends.

    Returns:
        Whether there is a job.
    """
    service.recover(store)
    looked = time.monotonic()
    while True:
        if time.monotonic() - looked >= REVIVE_SECONDS:
            looked = time.monotonic()
            recovery.revive(store)
        if queue.is_waiting(store, kinds, SERVED):
            return True
        if select.select([sys.stdin], [], [], IDLE_SECONDS)[0]:  # nothing is ever written there
            return False


def main(state: Path, kinds: Collection[str]) -> None:
    """Wait, and work then; a database that is out of reach ends it with a sentence."""
    try:
        is_there = wait(open_again(state), kinds)
    except AssayError as error:
        sys.exit(f"assay: {printable(str(error))}")
    if is_there:
        service.become(service.working_command(kinds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
