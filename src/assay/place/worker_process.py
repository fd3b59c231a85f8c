"""In the process of a worker: does one piece of work at a time, beside which it can be asked."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from assay.place.around_ray import hide_gpus, ignore_interrupts
from assay.place.workers import WorkItem, WorkStoppedError


class WorkerProcess:
    """Does the work; called from two threads, one of them at the work.

    Args:
        gpus: how many the process has asked the cluster for.
    """

    def __init__(self, gpus: int) -> None:
        ignore_interrupts()
        if not gpus:
            hide_gpus()
        self._told: deque[object] = deque()
        self._stopped = threading.Event()

    def is_there(self) -> None:
        """Answers once the process has started."""

    def run(self, work: WorkItem) -> Any:
        """Do a piece of work."""
        self._stopped.clear()
        return work.run(self._tell)

    def told(self) -> list[object]:
        """What the work has told since the last call."""
        return [self._told.popleft() for _ in range(len(self._told))]

    def stop(self) -> None:
        """Let the work end where it next tells something."""
        self._stopped.set()

    def _tell(self, event: object) -> None:
        if self._stopped.is_set():
            raise WorkStoppedError
        self._told.append(event)
