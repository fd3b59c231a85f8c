"""A record of the log begins one line, whoever wrote what stands in it."""

from __future__ import annotations

import logging
import sys

import pytest

from assay.log_lines import LONGEST, LineFormatter, print_logs_as_lines


def written(message: str, *args: object, error: Exception | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("x", logging.ERROR, "f.py", 1, message, args, info)
    return LineFormatter().format(record)


def test_breaks_and_escape_codes_are_spelled_out() -> None:
    said = written("no model %s", "a\nAdmin key: forged\r\x1b[2J\x9b\u2028é")
    assert said.endswith(" ERROR x: no model a\\nAdmin key: forged\\r\\x1b[2J\\x9b\\u2028é")


def test_a_traceback_is_indented_and_forges_no_line() -> None:
    try:
        raise ValueError("a\nAdmin key: forged\x1b[2J")
    except ValueError as raised:
        said = written("it failed", error=raised)
    first, *rest = said.split("\n")
    assert first.endswith(" ERROR x: it failed")
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in said


def test_a_record_has_an_end() -> None:
    assert len(written("%s", "x" * 10**6)) < LONGEST + 20
    assert sys.getsizeof(written("%s", "\x00" * 10**5)) < 2 * LONGEST


def test_what_a_process_writes_goes_through_one_handler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    print_logs_as_lines()
    print_logs_as_lines()
    logging.getLogger("of.a.library").error("%s", "x" * 10**6)
    [line] = capsys.readouterr().err.splitlines()
    assert len(line) < LONGEST + 20
