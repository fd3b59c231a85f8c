"""Progress on stderr: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from assay.cli.output import format_duration
from assay.progress import Task

LINE_EVERY_S = 30.0
AT_ONCE_S = 1.0
"""What is done by then was done before."""


class _Bars(Progress):
    """Bars with what is known of each task below its bar, where it has the whole width."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Each bar, and its figures."""
        for task in self.tasks:
            yield self.make_tasks_table([task])
            if task.fields["info"]:
                yield Text("  " + task.fields["info"], style="dim")


class _Bar:
    def __init__(self, bars: Progress, id: TaskID, unit: str) -> None:
        self._bars, self._id, self._unit = bars, id, unit
        self._known: dict[str, object] = {}

    def advance(self, amount: float = 1, **info: object) -> None:
        """Move the bar; the rate is over the last seconds, a figure stays until a newer one."""
        self._known |= info
        self._bars.update(self._id, advance=amount, info=_info(self._known))
        speed = next(t for t in self._bars.tasks if t.id == self._id).speed
        if speed:
            self._bars.update(self._id, rate=f"{speed:.3g} {self._unit}/s")


class _Line:
    """A line now and then: what is done, how far it is, how fast, and what is left."""

    def __init__(self, console: Console, label: str, total: float | None, unit: str) -> None:
        self._console, self._label, self._total, self._unit = console, label, total, unit
        self._done = self._done_at_last = 0.0
        self._known: dict[str, object] = {}
        self._is_first = True
        self._last = time.monotonic()

    def advance(self, amount: float = 1, **info: object) -> None:
        """Say where it stands, at most every LINE_EVERY_S seconds; the rate is since the last
        line."""
        self._done += amount
        self._known |= info
        now = time.monotonic()
        if self._is_first and now - self._last < AT_ONCE_S:
            self._done_at_last = self._done  # a run that goes on begins with what was done before
        self._is_first = False
        if now - self._last < LINE_EVERY_S:
            return
        rate = (self._done - self._done_at_last) / (now - self._last)
        self._last, self._done_at_last = now, self._done
        said = [f"{self._label}: {self._done:g}"]
        if self._total:
            said[0] += f" of {self._total:g}"
        said[0] += f" {self._unit}"
        if rate:
            said.append(f"{rate:.3g}/s")
        if self._total and rate and self._done < self._total:
            said.append(f"{format_duration((self._total - self._done) / rate)} left")
        if self._known:
            said.append(_info(self._known))
        self._console.print(", ".join(said), highlight=False, soft_wrap=True)


def _info(info: dict[str, object]) -> str:
    return "  ".join(
        f"{key.replace('_per_s', '/s').replace('_', ' ')} "
        + (f"{value:.4g}" if isinstance(value, float) else str(value))
        for key, value in info.items()
    )


class Terminal:
    """Draws on stderr, so that stdout holds nothing but the answer."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self._bars: Progress | None = None

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """A bar that goes when the block ends; tasks inside tasks are drawn below each other."""
        if not self.console.is_terminal:
            yield _Line(self.console, label, total, unit)
            return
        outer = self._bars is None
        if self._bars is None:
            self._bars = _Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bars.start()
        bars = self._bars
        id = bars.add_task(label, total=total, info="", rate="")
        try:
            yield _Bar(bars, id, unit)
        finally:
            bars.remove_task(id)
            if outer:
                bars.stop()
                self._bars = None

    def say(self, line: str) -> None:
        """Print a line that stays on the screen."""
        (self._bars.console if self._bars else self.console).print(line, highlight=False)
