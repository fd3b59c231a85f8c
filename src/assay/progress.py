"""How long work tells what it is doing, without knowing who listens.

Rooms take a `Progress` and call it; the command line passes one that draws bars. Who passes none
gets silence, but for the long calls of a project, which show a line in a notebook (`DEFAULT`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from assay.quantities import say_number

AT_ONCE_S = 1.0
"""What a task reports within this time of its start may be of an earlier run, so no rate counts it:
one that begins a little later is as good."""


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


@runtime_checkable
class StageListener(Protocol):
    """A `Progress` that wants to know which stage of a comparison begins."""

    def stage(self, doing: str, candidate: str) -> None:
        """What was done before has ended."""


@runtime_checkable
class ShareListener(Protocol):
    """A `Progress` that wants to know how much of all the work is done."""

    def set_share(self, share: float) -> None:
        """From 0 to 1, as it looks now: less than before where the work turns out longer."""


@runtime_checkable
class QuoteListener(Protocol):
    """A `Progress` that keeps lines for people and for programs, which may not read every row."""

    def say_quoting(self, line: str, plain: str) -> None:
        """Keep a line that ends with what a provider says, which may quote the row that it was
        asked for; `plain` is the line without it."""


@runtime_checkable
class RunKeeper(Protocol):
    """A `Progress` of work that goes on at another machine where this one dies."""

    def bring_run(self, folder: Path) -> None:
        """Let the folder of a training hold what was kept of it last, by whichever machine."""

    def keep_run(
        self, folder: Path, files: Mapping[str, Path], *, is_left: Callable[[], bool]
    ) -> None:
        """Keep files of that folder for other machines, by their names in it, if it is time to.

        Args:
            is_left: whether the work is left now, which may come about while they are copied.
        """


def begin_stage(progress: Progress, doing: str, candidate: str) -> None:
    """Tell whoever wants to know that a stage begins.

    Args:
        doing: "build", "speed", "probe", "inputs", "holdout", "rollout" or "end".
        candidate: its name, or "" where it is of none.
    """
    if isinstance(progress, StageListener):
        progress.stage(doing, candidate)


def say_quoting(progress: Progress, line: str, plain: str) -> None:
    """Say a line that may quote a row, see `QuoteListener.say_quoting`."""
    if isinstance(progress, QuoteListener):
        progress.say_quoting(line, plain)
    else:
        progress.say(line)


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


class StoppableProgress(Silent):
    """Reports to nobody, and lets a Ctrl-C through between two tokens.

    Args:
        between: called whenever a task moves on; what it raises ends the work.
    """

    def __init__(self, between: Callable[[], None]) -> None:
        self._between = between

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """A task that is not shown, each advance of which calls `between`."""
        yield self

    def advance(self, amount: float = 1, **info: object) -> None:
        """Call `between`; raises what it raises."""
        self._between()


SILENT: Progress = Silent()


class LineTask:
    """A task as a line now and then: what is done, how far it is, how fast, and what is left.

    Args:
        show: is given the line, at most every `every_s` seconds.
    """

    def __init__(
        self,
        label: str,
        total: float | None,
        unit: str,
        show: Callable[[str], None],
        every_s: float,
    ) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._show, self._every_s = show, every_s
        self._done = self._done_at_last = 0.0
        self._known: dict[str, object] = {}
        self._is_first = True
        self._last = time.monotonic()

    def advance(self, amount: float = 1, **info: object) -> None:
        """Move on; the rate is since the last line, a figure stays until a newer one."""
        self._done += amount
        self._known |= info
        now = time.monotonic()
        if self._is_first and now - self._last < AT_ONCE_S:
            self._done_at_last = self._done  # a run that goes on begins with what was done before
        self._is_first = False
        if now - self._last < self._every_s:
            return
        rate = (self._done - self._done_at_last) / (now - self._last)
        self._last, self._done_at_last = now, self._done
        of = f" of {say_number(self._total)}" if self._total else ""
        said = [f"{self._label}: {say_number(self._done)}{of} {self._unit}"]
        if rate:
            said.append(f"{say_number(rate, 3)}/s")
        if self._total and rate and self._done < self._total:
            said.append(f"{format_duration((self._total - self._done) / rate)} left")
        if self._known:
            said.append(describe_info(self._known))
        self._show(", ".join(said))


def describe_info(info: dict[str, object]) -> str:
    """Figures of a task (`tokens_per_s=320`) for a person."""
    return "  ".join(
        f"{key.replace('_per_s', '/s').replace('_', ' ')} "
        + (say_number(value, 4) if isinstance(value, float) else str(value))
        for key, value in info.items()
    )


def format_duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


NOTEBOOK_LINE_S = 1.0


class Notebook:
    """A line under the cell for each task, which goes when the task ends."""

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """A task whose line is written over."""
        display: Any = sys.modules["IPython.display"]
        line = display.display({"text/plain": f"{label} …"}, raw=True, display_id=True)

        def show(text: str) -> None:
            line.update({"text/plain": text}, raw=True)

        try:
            yield LineTask(label, total, unit, show, NOTEBOOK_LINE_S)
        finally:
            show("")

    def say(self, line: str) -> None:
        """Print a line that stays under the cell."""
        print(line)


def is_notebook() -> bool:
    """Whether this process answers the cells of a notebook."""
    shell: Any = sys.modules.get("IPython")
    if shell is None or "IPython.display" not in sys.modules:
        return False
    return type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


class _Default:
    """A notebook's lines in a notebook, else nothing."""

    def task(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Task]:
        return (Notebook() if is_notebook() else SILENT).task(label, total, unit)

    def say(self, line: str) -> None:
        (Notebook() if is_notebook() else SILENT).say(line)


DEFAULT: Progress = _Default()
