"""The server's log: on stderr, one line for each message, whatever clients and providers wrote."""

from __future__ import annotations

import logging

from assay.errors import printable


class Lines(logging.Formatter):
    """Characters that would begin a line or command a terminal are spelled as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """The message in one line; those of a traceback behind it are set in."""
        at = self.formatTime(record)
        lines = [f"{at} {record.levelname} {record.name}: {record.getMessage()}"]
        if record.exc_info:
            lines += [f"  {line}" for line in self.formatException(record.exc_info).split("\n")]
        return "\n".join(map(printable, lines))


def log_lines() -> None:
    """Write warnings and errors of this process so, once."""
    root = logging.getLogger()
    if not any(isinstance(handler.formatter, Lines) for handler in root.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(Lines())
        root.addHandler(handler)
