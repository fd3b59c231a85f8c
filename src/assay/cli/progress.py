"""Progress on stderr: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

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

from assay.log_lines import printable
from assay.progress import LineTask, Task, describe_info
from assay.quantities import say_number

LINE_EVERY_S = 30.0


class _Bars(Progress):
    """Bars with what is known of each task below its bar, where it has the whole width."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Each bar, and its figures."""
        for task in self.tasks:
            yield self.make_tasks_table([task])
            if task.fields["info"]:
                yield Text("  " + printable(task.fields["info"]), style="dim")


class _Bar:
    def __init__(self, bars: Progress, id: TaskID, unit: str) -> None:
        self._bars, self._id, self._unit = bars, id, unit
        self._known: dict[str, object] = {}

    def advance(self, amount: float = 1, **info: object) -> None:
        """Move the bar; the rate is over the last seconds, a figure stays until a newer one."""
        self._known |= info
        self._bars.update(self._id, advance=amount, info=describe_info(self._known))
        speed = next(t for t in self._bars.tasks if t.id == self._id).speed
        if speed:
            self._bars.update(self._id, rate=f"{say_number(speed, 3)} {self._unit}/s")


class Terminal:
    """Draws on stderr, so that stdout holds nothing but the answer."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self._bars: Progress | None = None

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """A bar that goes when the block ends; tasks inside tasks are drawn below each other."""
        if not self.console.is_terminal:
            yield LineTask(label, total, unit, self._print_line, LINE_EVERY_S)
            return
        outer = self._bars is None
        if self._bars is None:
            self._bars = _Bars(
                TextColumn("{task.description}", markup=False),
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
        id = bars.add_task(printable(label), total=total, info="", rate="")
        try:
            yield _Bar(bars, id, unit)
        finally:
            bars.remove_task(id)
            if outer:
                bars.stop()
                self._bars = None

    def _print_line(self, line: str) -> None:
        self.console.print(_plain(line), highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Print a line that stays on the screen."""
        console = self._bars.console if self._bars else self.console
        console.print(_plain(line), highlight=False)


def _plain(line: str) -> Text:
    """What a hub or a file says of itself, such as a licence, is neither markup nor escape code."""
    return Text(printable(line))
