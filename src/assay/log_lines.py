"""Lines of the log: one record begins one line, whatever stands in it.

    print_logs_as_lines()      # where a process begins that tells of others' requests
    logging.getLogger("uvicorn.error").addFilter(RateFilter())      # what strangers can cause

Names and errors come from strangers. A line break in one would write a line of its own, an escape
code would reach the terminal of whoever reads the log; lines without end would fill the disk.
"""

from __future__ import annotations

import logging
import time

LONGEST = 10_000
"""Characters of a record; a traceback with what was asked in it may have any number."""

FAULTS_A_MINUTE = 60
"""Records of a logger with a `RateFilter`."""


class LineFormatter(logging.Formatter):
    """A record's message in one line, and a traceback in indented ones below it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as printable lines, at most `LONGEST` characters."""
        at = self.formatTime(record)
        lines = [f"{at} {record.levelname} {record.name}: {record.getMessage().rstrip()}"]
        if record.exc_info:
            lines += [f"  {line}" for line in self.formatException(record.exc_info).split("\n")]
        text = "\n".join(map(printable, lines))
        return text if len(text) <= LONGEST else f"{text[:LONGEST]} (cut)"


def printable(text: str) -> str:
    """A text as one line for a terminal or a log: what cannot be seen is spelled as an escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def print_logs_as_lines() -> None:
    """Write warnings and errors of this process to stderr so; calling it again changes nothing."""
    root = logging.getLogger()
    if not any(isinstance(handler.formatter, LineFormatter) for handler in root.handlers):
        handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        handler.setFormatter(LineFormatter())
        root.addHandler(handler)


class RateFilter(logging.Filter):
    """Lets a part of the records through: what a message made go wrong may come without end."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = Allowance(FAULTS_A_MINUTE, 60.0)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written: one of `Allowance` is left."""
        return self._lines.take()


class Allowance:
    """So many times in so many seconds."""

    def __init__(self, times: int, seconds: float) -> None:
        self._times, self._seconds = times, seconds
        self._taken: list[float] = []

    def take(self) -> bool:
        """Whether it is allowed once more."""
        now = time.monotonic()
        self._taken = [at for at in self._taken if at > now - self._seconds]
        if len(self._taken) >= self._times:
            return False
        self._taken.append(now)
        return True
