"""A file in, one `Row` per record out, whatever the format; the only door into `formats/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.config import Columns
from assay.data.problems import Problem
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
    """

    example: Example | None
    problems: tuple[Problem, ...]
    raw: Any
    line: int


@dataclass(frozen=True, slots=True)
class Detected:
    """What a look at a file found.

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


def detect(path: Path | str, columns: Columns | None = None) -> Detected:
    """Find out what a file is without reading all of its rows.

    Raises:
        DataError: it cannot be opened, is empty, or is nothing that Assay reads.
    """
    raise NotImplementedError


def read(
    path: Path | str,
    format: str | None = None,
    columns: Columns | None = None,
    *,
    progress: Progress = SILENT,
) -> Iterator[Row]:
    """Stream the rows of a file (`FILE#Sheet` for a workbook, `hf:org/name:split` for the hub).

    Raises:
        DataError: the file as a whole cannot be read. A broken record is a Row with its problem.
    """
    raise NotImplementedError
