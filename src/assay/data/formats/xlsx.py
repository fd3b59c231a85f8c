"""XLSX: the first sheet, or the one named `FILE#Sheet`; formulas by their stored result.

A cell with an error is the error's text, as in CSV that a spreadsheet saves: `objects` judges it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from assay.close_names import find_close_name
from assay.data.formats.delimited import Header
from assay.data.formats.record import (
    FIELD_LIMIT,
    WHOLE_BELOW,
    Raw,
    damaged,
    guard,
    too_large,
)
from assay.data.problems import Problem, problem
from assay.errors import DataError, Step
from assay.quantities import say_count


@contextmanager
def _open(path: Path, file: str) -> Iterator[Any]:
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except Exception as error:
        raise damaged("workbook", error, file) from None
    try:
        yield book
    finally:
        book.close()


def sheets(path: Path, file: str) -> tuple[str, ...]:
    """The names of the sheets that hold cells."""
    with _open(path, file) as book:
        return tuple(sheet.title for sheet in book.worksheets)


def _rows(book: Any, sheet: str | None, file: str) -> Iterator[tuple[int, list[Any]]]:
    names = [one.title for one in book.worksheets]
    if not names:
        raise DataError("the workbook has no sheet with cells.", where=file)
    if sheet is not None and sheet not in names:
        close = find_close_name(sheet, names)
        raise DataError(
            f"there is no sheet {sheet!r}. The sheets are: {', '.join(names)}.",
            where=file,
            fix=f"Did you mean {close!r}?" if close else None,
        )
    table = book[sheet] if sheet is not None else book.worksheets[0]
    table.reset_dimensions()  # some writers store a wrong size, which would cut rows off
    for number, cells in enumerate(guard(table.iter_rows(), "workbook", file), start=1):
        if any(cell.value is not None for cell in cells):
            yield number, cells


def read_header(path: Path, file: str, sheet: str | None) -> Header:
    """The first row that is not empty.

    Raises:
        DataError: no such sheet, or an empty one.
    """
    with _open(path, file) as book:
        for _, cells in _rows(book, sheet, file):
            return _header(cells)
    raise DataError("the sheet is empty.", where=file, fix="Choose another one: FILE#Sheet.")


def _header(cells: list[Any]) -> Header:
    texts = [_text(cell.value) for cell in cells]
    while texts and not texts[-1].strip():
        texts.pop()
    return Header.of(texts)


def read_rows(path: Path, file: str, sheet: str | None) -> Iterator[Raw]:
    """The rows below the header as records of text, numbered as Excel numbers them."""
    with _open(path, file) as book:
        header: Header | None = None
        for number, cells in _rows(book, sheet, file):
            if header is None:
                header = _header(cells)
            else:
                yield _record(header, cells, file, number)


def _record(header: Header, cells: list[Any], file: str, number: int) -> Raw:
    width = len(header.names)
    values = [cell.value for cell in cells]
    if any(value is not None for value in values[width:]):
        found = problem(
            "ragged-row",
            file,
            number,
            f"the row has {say_count(len(values), 'cell')}, but the header has "
            f"{say_count(width, 'column')}.",
            "Add a name to the header, or clear the cells.",
        )
        return Raw(number, [_text(value) for value in values], (found,))
    texts = [_text(value) for value in values[:width]]
    texts += [""] * (width - len(texts))  # cells at the end that were never written
    record = header.record(texts)
    for name, text in zip(header.names, texts, strict=True):
        if len(text) > FIELD_LIMIT:
            return Raw(number, record, (too_large(file, number, name),))
    return Raw(number, record)


def _text(value: Any) -> str:
    """A cell as Excel shows it, but for number formats: 5.0 is "5", dates are ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE_BELOW:
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value)


def sheets_notice(names: tuple[str, ...], file: str) -> tuple[Problem, ...]:
    """That only the first of several sheets is read."""
    if len(names) < 2:
        return ()
    return (
        problem(
            "several-sheets",
            file,
            1,
            f"only the first sheet, {names[0]}, was read; not read: {', '.join(names[1:])}.",
            f"{Step.OTHER_SHEET.of(f'{file}#{names[1]}')}.",
        ),
    )
