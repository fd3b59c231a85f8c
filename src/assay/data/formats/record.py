"""What containers and shapes have in common: a raw record, the findings on it, a shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from math import inf
from typing import Any, NamedTuple, TypeVar

from assay import json_reader
from assay.close_names import find_close_name
from assay.data.problems import Problem, problem
from assay.errors import DataError
from assay.example import Example

T = TypeVar("T")
Record = dict[str, Any]

FIELD_LIMIT = 10_000_000
"""Characters in one field."""
WHOLE_BELOW = 10**15
"""Excel keeps all digits of whole numbers up to here."""


class Raw(NamedTuple):
    """One record as its container gives it; `problems` with an error when `value` is of no use."""

    line: int
    value: Any
    problems: tuple[Problem, ...] = ()


class RecordProblems:
    """Collects the problems of one record after another of a file.

    Attributes:
        repeated: characters that rows of the file repeat of others of their record, so far.
    """

    __slots__ = ("failed", "file", "line", "problems", "repeated")

    def __init__(self, file: str) -> None:
        self.file, self.repeated = file, 0
        self.start(0)

    def start(self, line: int) -> None:
        """Forget the last record's problems; the next ones are of the record at `line`."""
        self.line, self.failed = line, False
        self.problems: list[Problem] = []

    def add(self, code: str, message: str, fix: str, field: str | None = None) -> None:
        """Note a problem of the record at hand."""
        one = problem(code, self.file, self.line, message, fix, field=field)
        self.problems.append(one)
        self.failed = self.failed or one.severity == "error"


def _whole(record: Record) -> list[Record]:
    return [record]


def _one_row(
    record: Record, example: Example, found: RecordProblems
) -> list[tuple[Record, Example]]:
    return [(record, example)]


@dataclass(frozen=True, slots=True)
class Shape:
    """How the records of one format are laid out.

    Attributes:
        name: of the format.
        needs: the fields it needs, in words.
        matches: whether a record is laid out so.
        example: (record, id to use when it has none, findings) to an example; None after an error.
        parts: splits a record that holds several examples.
        cut: (part, its example, findings) to the examples that are made of it, each with the record
            that it stands for; nothing after an error.
        reads: every field that is read; () where they are not listed.
    """

    name: str
    needs: str
    matches: Callable[[Record], bool]
    example: Callable[[Record, str, RecordProblems], Example | None]
    parts: Callable[[Record], list[Record]] = _whole
    cut: Callable[[Record, Example, RecordProblems], list[tuple[Record, Example]]] = _one_row
    reads: tuple[str, ...] = ()

    def read(
        self, part: Record, id: str, found: RecordProblems
    ) -> list[tuple[Record, Example | None]]:
        """The examples of a part, each with the record that it stands for; of one with an error
        the part alone."""
        example = self.example(part, id, found)
        rows = [] if example is None else self.cut(part, example, found)
        return [*rows] if rows else [(part, None)]


def shorten(value: Any, length: int = 60) -> str:
    """A value for a message: short, on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def text_of(value: Any) -> str:
    """The text of a cell or field: text as it is, nothing as "", all else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return json_text(value)


def number_of(value: Any) -> int | float | None:
    """The number in a cell or field, written as in JSON; 12.0 is 12, and an empty one is None.

    Raises:
        ValueError: it is no number.
    """
    text = str(value) if isinstance(value, Decimal) else text_of(value).strip()
    if not text:
        return None
    number = json_reader.read(text)
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not abs(number) < inf:  # nor NaN
        raise ValueError(f"{shorten(text)} is no number")
    # As xlsx.py writes it, which knows no whole numbers beside the others.
    return int(number) if number == int(number) and abs(number) < WHOLE_BELOW else number


def json_text(value: Any) -> str:
    """JSON text, keys in their order; dates as ISO 8601, decimals as text."""
    return json.dumps(value, ensure_ascii=False, default=_json_default)


def _json_default(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)


def missing_field(record: Record, key: str, found: RecordProblems) -> None:
    """Note that a field is not there, with those that are and the closest of them."""
    names = [str(name) for name in record]
    close = find_close_name(key, names)
    found.add(
        "missing-field",
        f"there is no field {key}; the record has: {', '.join(names) or 'none'}.",
        f"Did you mean {close}?" if close else f"Add {key} to the record.",
        key,
    )


def text_field(record: Record, key: str, found: RecordProblems, *, needed: bool = True) -> str:
    """The text in a field of a fixed format; anything but text (or null) is an error."""
    value = record.get(key)
    if isinstance(value, str):
        return value
    if value is not None:
        found.add(
            "wrong-type",
            f"{key} is {shorten(value)}, which is not text.",
            "Write it as a string in quotes.",
            key,
        )
    elif needed and key not in record:
        missing_field(record, key, found)
    return ""


def identity(record: Record, default: str) -> str:
    """The record's own id, when it brings one."""
    value = record.get("id")
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return default


def group_of(record: Record) -> str | None:
    """The record's own group, when it brings one."""
    value = record.get("group")
    return str(value) if isinstance(value, str | int) and value != "" else None


def document_of(record: Record) -> str | None:
    """The document that the record names; "" where it says that there is none."""
    if "document" not in record:
        return None
    value = record["document"]
    return str(value) if isinstance(value, str | int) else "" if value is None else None


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a record with its path, e.g. ("messages[0].content", "Hello")."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            name = str(key)
            yield f"{path}, a name", name
            yield from strings(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from strings(inner, f"{path}[{index}]")


def unusable_text(value: Any, file: str, line: int) -> Problem | None:
    """The first text of a record that is too large or cannot be written as UTF-8."""
    for path, text in strings(value):
        if len(text) > FIELD_LIMIT:
            return too_large(file, line, path)
        if "\0" in text:
            return problem(
                "nul-byte",
                file,
                line,
                "the text contains a NUL character.",
                "Remove it.",
                field=path,
            )
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                return problem(
                    "lone-surrogate",
                    file,
                    line,
                    "the text contains half of a character (an unpaired surrogate).",
                    "Write the whole character, or remove it.",
                    field=path,
                )
    return None


def too_large(file: str, line: int, field: str | None) -> Problem:
    """The problem of a field above the limit."""
    return problem(
        "field-too-large",
        file,
        line,
        f"one field is larger than {FIELD_LIMIT // 10**6} MB.",
        "Shorten it or remove the row.",
        field=field,
    )


def damaged(what: str, error: Exception, file: str) -> DataError:
    """The error of a file that a library cannot read.

    On damaged bytes openpyxl and pyarrow raise whatever they stumble over, of any type; only their
    calls are guarded so, never our own.
    """
    reason = (str(error).splitlines() or [""])[0]
    return DataError(
        f"the {what} is damaged or truncated ({type(error).__name__}: {reason}).",
        where=file,
        fix="Create or copy the file again.",
    )


def guard(items: Iterator[T], what: str, file: str) -> Iterator[T]:
    """The items of a library's iterator, its exceptions turned into `damaged`."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except Exception as error:
            raise damaged(what, error, file) from None
        yield item
