"""Lines of the log: one record begins one line, whatever stands in it.

    print_logs_as_lines()      # where a process begins that tells of others' requests

Names and errors come from strangers. A line break in one would write a line of its own, an escape
code would reach the terminal of whoever reads the log.
"""

from __future__ import annotations

import logging

LONGEST = 10_000
"""Characters of a record; a traceback with what was asked in it may have any number."""


class LineFormatter(logging.Formatter):
    """A record's message in one line, and a traceback in indented ones below it."""

    def format(self, record: logging.LogRecord) -> str:
        """As it is written."""
        lines = [printable(record.getMessage())]
        if record.exc_info:
            lines += [f"  {printable(one)}" for one in self._traceback(record)]
        text = "\n".join(lines)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]} (cut)"

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        assert record.exc_info is not None
        return self.formatException(record.exc_info).split("\n")


def printable(text: str) -> str:
    """A text in which what does not print is spelled out."""
    return text if text.isprintable() else "".join(map(_spelled, text))


def print_logs_as_lines() -> None:
    """For records that nobody has configured a handler for: they go to stderr."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LineFormatter())


def _spelled(one: str) -> str:
    return one if one.isprintable() else ascii(one)[1:-1]
