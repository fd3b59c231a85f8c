"""A file in, one `Row` per record out, whatever the format; the only door into `formats/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from assay.close_names import find_close_name
from assay.config import Columns, join_names
from assay.data.formats.objects import check_columns, guess_columns
from assay.data.formats.objects import shape as column_shape
from assay.data.formats.record import Raw, RecordProblems, Shape
from assay.data.formats.shapes import BY_NAME, recognise
from assay.data.inspection import Container, FileInspection, inspect_file
from assay.data.problems import Problem
from assay.data.source import ADD_DOCUMENTS
from assay.errors import DataError, Step, UsageError
from assay.example import Example
from assay.progress import SILENT, Progress


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file.

    Attributes:
        example: what it says, or None when a problem of severity `error` rejects it. An example
            with an empty output is an example: judging contents is the work of the checks.
        problems: what was found while reading it; findings on the file itself are on its first row.
        raw: the parsed record (text where it could not be parsed), for the file of rejected rows.
        line: its first line, counted from 1 (the row number in Parquet and Excel).
        record: number of its record, counted from 1: several records may begin in one line.
    """

    example: Example | None
    problems: tuple[Problem, ...]
    raw: Any
    line: int
    record: int


@dataclass(frozen=True, slots=True)
class DetectedFormat:
    """What the inspection of a file found.

    Attributes:
        format: the name of the format, e.g. `openai-chat` or `csv`.
        encoding: a Python codec name; None for Parquet, Excel and the hub.
        newline: as written in the file; None where lines do not matter.
        delimiter: of CSV and TSV, else None.
        fields: columns, or the keys of the first records in order of appearance.
        columns: guessed columns of tables and plain objects; None when they cannot be told or
            the format itself says what is what.
        sheets: sheet names of a workbook.
    """

    format: str
    encoding: str | None = None
    newline: str | None = None
    delimiter: str | None = None
    fields: tuple[str, ...] = ()
    columns: Columns | None = None
    sheets: tuple[str, ...] = ()


CONTAINER_FORMATS: dict[str, Container] = {
    "csv": "table",
    "tsv": "table",
    "parquet": "parquet",
    "xlsx": "xlsx",
    "json-objects": "json",
    "jsonl-objects": "jsonl",
    "hf": "hf",
}
"""Formats whose columns the user names; the others say themselves what is what."""

FORMATS: tuple[str, ...] = (*BY_NAME, *CONTAINER_FORMATS)
"""The name of every format."""


def detect(path: Path | str, columns: Columns | None = None) -> DetectedFormat:
    """Find out what a file is without reading all of its rows.

    Args:
        path: a file, `FILE#Sheet`, or `hf:org/name:split`.
        columns: when given, the file is read as a table of these columns.

    Raises:
        DataError: it cannot be opened, has no rows, lacks a column, or is nothing that Assay reads.
    """
    content = inspect_file(path)
    shape = _recognised(content) if columns is None else None
    if shape is None and columns is None:
        if content.one_object:
            raise _one_object(content)
        columns = guess_columns(content.fields) if not content.header_is_data else None
    elif columns is not None:
        check_columns(columns, content.fields, content.file, _header_hint(content))
    return DetectedFormat(
        format=shape.name if shape else container_format(content),
        encoding=content.encoding,
        newline=content.newline,
        delimiter=content.delimiter,
        fields=content.fields,
        columns=columns,
        sheets=content.sheets,
    )


def find_unread(found: DetectedFormat) -> tuple[str, ...]:
    """Fields of a format that says itself what is what which nothing reads, as far as it lists
    those that are read; of tables, whose columns are named, none."""
    reads = BY_NAME[found.format].reads if found.format in BY_NAME else ()
    return tuple(name for name in found.fields if name not in reads) if reads else ()


def check_answers(found: DetectedFormat, file: str) -> None:
    """Refuse a table of one column, where nobody can say which column is what.

    Raises:
        DataError: there is no column for the right answers.
    """
    if found.format in CONTAINER_FORMATS and found.columns is None:
        _check_answers(found.fields, file)


def _check_answers(fields: tuple[str, ...], file: str) -> None:
    if len(fields) == 1:
        raise DataError(
            f"the file has one column, {fields[0]}. A second column is needed, with the right "
            "answer of each row.",
            where=file,
            fix="Add the column, or separate the columns by commas, semicolons or tabs. "
            f"{ADD_DOCUMENTS}",
        )


def read(
    path: Path | str,
    format: str | None = None,
    columns: Columns | None = None,
    *,
    progress: Progress = SILENT,
) -> Iterator[Row]:
    """Stream the rows of a file.

    Args:
        path: a file, `FILE#Sheet`, or `hf:org/name:split`.
        format: one of `FORMATS`; found by content when None.
        columns: what is input and output in a table or plain objects; guessed by name when None.
        progress: told of every thousand rows.

    Raises:
        UsageError: no such format.
        DataError: the file as a whole cannot be read. A broken record is a Row with its problem.
    """
    if format is not None and format not in FORMATS:
        close = find_close_name(format, FORMATS)
        raise UsageError(
            f"there is no format {format!r}. Formats: {', '.join(FORMATS)}.",
            fix=f"Did you mean {close!r}?" if close else None,
        )
    content = inspect_file(path, format)
    return _rows(content, _shape(content, format, columns), progress)


def _recognised(content: FileInspection) -> Shape | None:
    """The shape that tells itself; the columns of CSV and Excel are always named or guessed."""
    return None if content.container in ("table", "xlsx") else recognise(content.sample)


def container_format(content: FileInspection) -> str:
    """The name of the format of a file whose columns are named, one of `CONTAINER_FORMATS`."""
    if content.container == "table":
        return "tsv" if content.delimiter == "\t" else "csv"
    return next(name for name, kind in CONTAINER_FORMATS.items() if kind == content.container)


def _shape(content: FileInspection, format: str | None, columns: Columns | None) -> Shape | None:
    """How records become examples; None when there is not one good record to tell from."""
    if format in BY_NAME:
        if columns is not None:
            raise DataError(
                f"the format {format} already defines what is input and output, so columns cannot "
                "be set.",
                where=content.file,
                fix="Leave out either the columns or the format.",
            )
        return BY_NAME[format]
    if format is not None and CONTAINER_FORMATS[format] != content.container:
        raise DataError(
            f"the file is {container_format(content)}, not {format}.",
            where=content.file,
            fix="Leave out the format; it is detected from the content.",
        )
    if not content.sample and content.container in ("json", "jsonl"):
        return None
    if columns is None and format is None:
        recognised = _recognised(content)
        if recognised is not None:
            return recognised
    if columns is None:
        columns = _guessed_columns(content)
    check_columns(columns, content.fields, content.file, _header_hint(content))
    return column_shape(container_format(content), columns)


def _guessed_columns(content: FileInspection) -> Columns:
    if content.header_is_data:
        raise DataError(
            "the first line looks like a row, not like a header with column names.",
            where=content.file,
            fix="Add a first line with a name for each column, or set the columns to use.",
        )
    if content.one_object:
        raise _one_object(content)
    columns = guess_columns(content.fields)
    if columns is not None:
        return columns
    _check_answers(content.fields, content.file)
    raise DataError(
        "it is not clear which column is the input and which is the output. The columns are: "
        f"{join_names(content.fields)}.",
        where=content.file,
        fix=f"{Step.NAME_COLUMNS.command}.",
    )


def _one_object(content: FileInspection) -> DataError:
    if not content.fields:
        return DataError(
            "no record of the file can be read: the first one is not whole JSON.",
            where=content.file,
            fix="Write one whole record a line; a JSON library writes quotes, commas and brackets "
            "correctly.",
        )
    names = ", ".join(content.fields[:5]) + (", ..." if len(content.fields) > 5 else "")
    return DataError(
        f"the file is one JSON object (with {names}), not a list of records.",
        where=content.file,
        fix="Write the records as a list, or one per line.",
    )


def _header_hint(content: FileInspection) -> str:
    return (
        " The first line looks like a row: is the header missing?" if content.header_is_data else ""
    )


def _rows(content: FileInspection, shape: Shape | None, progress: Progress) -> Iterator[Row]:
    found = RecordProblems(content.file)
    pending = content.notices
    number = 0
    with progress.task(f"Reading {PurePath(content.file).name}", None, "rows") as task:
        for raw in content.records():
            number += 1
            if number % 1000 == 0:
                task.advance(1000)
            if raw.problems:
                yield Row(None, (*pending, *raw.problems), raw.value, raw.line, number)
                pending = ()
                continue
            for row in _examples(raw, shape, number, found, pending):
                yield row
                pending = ()
        task.advance(number % 1000)


def _examples(
    raw: Raw, shape: Shape | None, number: int, found: RecordProblems, pending: tuple[Problem, ...]
) -> Iterator[Row]:
    """The rows of one good record: one, but for records that hold several examples."""
    found.start(raw.line)
    if shape is None:
        fields = ", ".join(map(str, raw.value))
        found.add(
            "unknown-shape",
            f"the fields of this record do not match any known format: {fields}.",
            "Set which fields are the input and the output.",
        )
        yield Row(None, (*pending, *found.problems), raw.value, raw.line, number)
        return
    parts = shape.parts(raw.value)
    for index, part in enumerate(parts, start=1):
        found.start(raw.line)
        id = f"row-{number}" if len(parts) == 1 else f"row-{number}/{index}"
        for record, example in shape.read(part, id, found):
            yield Row(example, (*pending, *found.problems), record, raw.line, number)
            pending = ()
            found.start(raw.line)
