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
