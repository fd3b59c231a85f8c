"""When a kind of thing is not asked for any more, and when nothing is.

patience.begin()                  # another kind
patience.check()                  # before each request
patience.answered()               # or refused(kind, error)
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from assay.rescue.client import FailedError, RefusedError

MOST_REFUSALS = 25
"""In a row, of things of one kind: a key that may not read these may not read the next."""
MOST_FAILURES = 5
"""In a row, of things of one kind: an endpoint that fails for these fails for the next."""


class Patience:
    """Counts what is refused and what fails. Safe for many threads.

    One endpoint may fail for good while the others answer, so its failures end its kind alone. They
    end the run where another part of the account fails next, without an answer in between.

    Args:
        part_of: by kind: the part of the account that it belongs to.
    """

    def __init__(self, part_of: Mapping[str, str]) -> None:
        self._part_of, self._lock = part_of, Lock()
        self._refusals = self._failures = 0
        self._broken: str | None = None

    def begin(self) -> None:
        """Things of another kind follow."""
        with self._lock:
            self._refusals = self._failures = 0

    def check(self) -> None:
        """Raises a RefusedError where the rest of this kind is not asked for."""
        with self._lock:
            if self._refusals >= MOST_REFUSALS:
                raise RefusedError(f"not asked for, after {MOST_REFUSALS} refusals in a row.")
            if self._failures >= MOST_FAILURES:
                raise RefusedError(f"not asked for, after {MOST_FAILURES} failures in a row.")

    def answered(self) -> None:
        """What was asked for has come."""
        with self._lock:
            self._refusals = self._failures = 0
            self._broken = None

    def refused(self, kind: str, error: RefusedError) -> bool:
        """Count it; True: the server fails for everything, and the run is to end."""
        part = self._part_of[kind]
        with self._lock:
            self._refusals += error.status in (401, 403)
            if not isinstance(error, FailedError):  # an answer, too
                self._failures, self._broken = 0, None
                return False
            if self._broken not in (None, part):
                return True
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                self._broken = part
            return False
