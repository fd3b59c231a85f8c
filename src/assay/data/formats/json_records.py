"""JSON in three layouts: one object a line (JSONL), one array, or objects one after another.

Arrays are read piece by piece with the standard decoder's `raw_decode`, which tells where a value
ends: memory is bounded by one record, and each record keeps its line (streaming parsers such as
ijson give no positions).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from assay import json_reader
from assay.data.encoding import LINE_LIMIT, Lines, defect_of, open_text, read_text
from assay.data.formats.record import FIELD_LIMIT, Raw, shorten, unusable_text
from assay.data.problems import Problem, problem
from assay.errors import DataError


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_SPACE = re.compile(r"[ \t\r\n]*")
_NEAR_END = 16
"""An error this near to the end of what was read may be a value that is only cut off."""


def read_lines(path: Path, file: str, encoding: str) -> Iterator[Raw]:
    """One record a line; blank lines are skipped."""
    with open_text(path, encoding) as text:
        lines = Lines(text, file)
        for line in lines:
            if line.isspace():
                continue
            if lines.defect:
                defect, lines.defect = lines.defect, None
                yield Raw(
                    lines.number, line.rstrip("\r\n"), (defective(file, lines.number, defect),)
                )
                continue
            yield _parse(line, file, lines.number)


def _parse(line: str, file: str, number: int) -> Raw:
    # Without its line end, behind which an error would else be: on a line of its own, at column 1.
    line = line.rstrip("\r\n")
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        return Raw(number, line, (_not_json(file, number, error, line),))
    return _checked(value, line, file, number)


def _checked(value: Any, text: str, file: str, number: int) -> Raw:
    """A parsed record, or its problem when its texts cannot be used."""
    if json_reader.is_too_deep(text):
        return Raw(number, text, (_not_json(file, number, RecursionError(), text),))
    if not isinstance(value, dict):
        what = {list: "a list", str: "text", type(None): "null"}.get(type(value), "one value")
        found = problem(
            "not-an-object",
            file,
            number,
            f"the record is {what} ({shorten(value, 40)}), not an object with fields.",
            'Write each record as {"field": value, ...}.',
        )
        return Raw(number, value, (found,))
    # Escapes are the only way to what `defect_of` cannot see in the file's own characters.
    if len(text) > FIELD_LIMIT or "\\ud" in text or "\\uD" in text or "\\u0000" in text:
        unusable = unusable_text(value, file, number)
        if unusable:
            return Raw(number, value, (unusable,))
    return Raw(number, value)


def _not_json(file: str, number: int, error: Exception, text: str) -> Problem:
    if isinstance(error, RecursionError):
        what, fix = "the record is nested too deeply", "Flatten it."
    elif isinstance(error, json.JSONDecodeError):
        around = shorten(text[max(0, error.pos - 15) : error.pos + 25], 40)
        said = json_reader.describe(error)
        what = f"the record is not JSON: {said}, at column {error.colno}, near `{around}`"
        fix = "Correct the record; a JSON library writes quotes and commas correctly."
    else:
        what, fix = f"the record is not JSON: {error}", "Use a number, a string or null."
    return problem("invalid-json", file, number, f"{what}.", fix)


def defective(file: str, number: int, defect: tuple[str, str]) -> Problem:
    """The problem of a line whose characters are broken."""
    code, what = defect
    fix = (
        "Remove it; it often comes from a damaged copy."
        if code == "nul-byte"
        else "Save the file as UTF-8, or correct the line."
    )
    return problem(code, file, number, f"the line contains {what}.", fix)


class _Window:
    """The part of a text that is being read, and the line its start is on."""

    def __init__(self, path: Path, file: str, encoding: str) -> None:
        self.text = open_text(path, encoding)
        self.file, self.buffer, self.at, self.line, self.ended = file, "", 0, 1, False

    def more(self) -> bool:
        """Read on (as much as is held already); False at the end of the file."""
        self._drop()
        wanted = max(1, len(self.buffer))
        got = 0
        while got < wanted and not self.ended:
            chunk = read_text(self.text, self.file, self.line)
            self.ended = not chunk
            if chunk.endswith("\r"):  # never part the two characters of one line end
                chunk += self.text.read(1)
            self.buffer += chunk
            got += len(chunk)
        return got > 0

    def _drop(self) -> None:
        self.buffer, self.at = self.buffer[self.at :], 0

    def move(self, to: int) -> None:
        """Move on to `to`, counting the line ends that are passed."""
        passed = self.buffer[self.at : to]
        self.line += passed.count("\n") + passed.count("\r") - passed.count("\r\n")
        self.at = to

    def peek(self) -> str:
        """The next character that is not white space, "" at the end of the file."""
        while True:
            space = _SPACE.match(self.buffer, self.at)
            self.move(space.end() if space else self.at)
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                return ""


def read_array(path: Path, file: str, encoding: str) -> Iterator[Raw]:
    """The records of one JSON array, or of objects written one after another.

    After a record that is not JSON the rest cannot be told apart: its problem says so and the
    reading ends.
    """
    window = _Window(path, file, encoding)
    with window.text:
        array = window.peek() == "["
        if array:
            window.move(window.at + 1)
            if window.peek() == "]":
                return
        while window.peek():
            line = window.line
            found = _next_value(window)
            if isinstance(found, Problem):
                yield Raw(line, shorten(window.buffer[window.at :][:2000], 2000), (found,))
                return
            value, end = found
            text = window.buffer[window.at : end]
            window.move(end)
            defect = defect_of(text)
            if defect:
                yield Raw(line, value, (defective(file, line, defect),))
            else:
                yield _checked(value, text, file, line)
            following = window.peek()
            if array and following == ",":
                window.move(window.at + 1)
            elif array and following == "]":
                window.move(window.at + 1)
                if window.peek():
                    yield _stop(window, "there is more text after the end of the array")
                return
            elif array:
                yield _stop(window, "a comma or ] is missing after the previous record")
                return


def _next_value(window: _Window) -> tuple[Any, int] | Problem:
    """The value at the window's start and where it ends, reading on while it may be cut off."""
    while True:
        try:
            value, end = _DECODER.raw_decode(window.buffer, window.at)
        except RecursionError as error:
            return _not_json(window.file, window.line, error, "")
        except ValueError as error:
            position = error.pos if isinstance(error, json.JSONDecodeError) else 0
            cut = position > len(window.buffer) - _NEAR_END or "Unterminated" in str(error)
            if not cut or not window.more():
                return _rest_unread(window, error)
        else:
            if end < len(window.buffer) or not window.more():
                return value, end
        if len(window.buffer) > LINE_LIMIT:
            raise DataError(
                f"one JSON value is larger than {LINE_LIMIT // 2**20} MB, or a quote in it is "
                "never closed.",
                where=f"{window.file}, line {window.line}",
                fix="Write a list of records ([{...}, {...}]) or one record per line, not "
                '{"data": [...]}.',
            )


def _rest_unread(window: _Window, error: ValueError) -> Problem:
    what, line = str(error), window.line
    if isinstance(error, json.JSONDecodeError):
        passed = window.buffer[window.at : error.pos]
        line += passed.count("\n") + passed.count("\r") - passed.count("\r\n")
        what = json_reader.describe(error)
    return problem(
        "invalid-json",
        window.file,
        window.line,
        f"the record is not JSON: {what} (line {line}); the records after it cannot be read.",
        "Correct it, or write one record per line (JSONL), so that only the broken record is lost.",
    )


def _stop(window: _Window, what: str) -> Raw:
    found = problem(
        "invalid-json",
        window.file,
        window.line,
        f"{what}; the records after it cannot be read.",
        "Correct it, or write one record per line (JSONL).",
    )
    return Raw(window.line, shorten(window.buffer[window.at :], 200), (found,))
