"""How long work tells what it is doing, without knowing who listens.

Rooms take a `Progress` and call it; the command line passes one that draws bars, tests and
notebooks pass nothing and get silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One bar."""

    def advance(self, amount: float = 1, **info: object) -> None:
        """Move on by `amount` of the task's unit; `info` (loss=0.3) is shown beside the bar."""


class Progress(Protocol):
    """Where long work reports to."""

    def task(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Task]:
        """A context manager that yields the `Task`; `total` None means not known."""

    def say(self, line: str) -> None:
        """Print one line that is not overwritten."""


class _SilentTask:
    def advance(self, amount: float = 1, **info: object) -> None:
        pass


class Silent:
    """Reports to nobody."""

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """A task that is not shown."""
        yield _SilentTask()

    def say(self, line: str) -> None:
        pass


SILENT: Progress = Silent()
