"""What an earlier run of a comparison has done, so that the next one tells what is left.

    earlier = EarlierRun(terminal, opened)
    told = earlier.left_of(opened.estimate())
    opened.compare(progress=Forecast(earlier, told))

What a run finishes is kept, whatever ends it; how much of the whole that is, is known while it runs
and is kept here. A job's is kept by its queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property

from assay import json_reader
from assay.progress import Progress, Task, say_quoting
from assay.project import forecast
from assay.project.estimate import Estimate
from assay.project.fingerprint import basis_of, fingerprint_of
from assay.project.project import Project
from assay.store.files import write_json

FILE = "comparison.json"
WRITTEN_EVERY_S = 5.0


class EarlierRun:
    """A `Progress` that hands everything on, and keeps how much of a comparison is done.

    Nothing is read, nor are documents hashed, before the share is asked for.

    Args:
        inner: who is told.
    """

    def __init__(
        self, inner: Progress, project: Project, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner, self._project, self._clock = inner, project, clock
        self._written = clock()
        self._file = project.store.folder / "work" / FILE

    @cached_property
    def share(self) -> float:
        """What runs before this one have done of the comparison: 0 where there was none of the
        same examples, settings, documents and graders."""
        of = self._of
        try:
            found = json_reader.read(self._file.read_text(encoding="utf-8"))
            share = float(found["share"]) if found["of"] == of else 0.0
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0  # none was kept, or it cannot be read: the whole is told
        return min(1.0, max(0.0, share))

    @cached_property
    def _of(self) -> str:
        return fingerprint_of(basis_of(self._project))

    def left_of(self, told: Estimate) -> Estimate:
        """What is to come of what was told of the whole."""
        return forecast.left_of(told, self.share)

    def task(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Task]:
        """The task of `inner`, which is handed on as it is."""
        return self._inner.task(label, total, unit)

    def say(self, line: str) -> None:
        """Print a line, as `inner` does."""
        self._inner.say(line)

    def say_quoting(self, line: str, plain: str) -> None:
        """Say a line that may quote a row, as `inner` does."""
        say_quoting(self._inner, line, plain)

    def set_share(self, share: float) -> None:
        """How much of what was left is done; it is kept now and then, and at the end."""
        now = self._clock()
        if share < 1.0 and now - self._written < WRITTEN_EVERY_S:
            return
        self._written = now
        self._file.parent.mkdir(exist_ok=True)
        whole = self.share + (1.0 - self.share) * share
        write_json(self._file, {"of": self._of, "share": round(whole, 4)})
