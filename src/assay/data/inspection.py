"""What a file is, from its first bytes: its container, its encoding, its first records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from assay import json_reader
from assay.config.names import split_sheet
from assay.data.encoding import decode_head, find_encoding, find_newline
from assay.data.formats import delimited, hub, json_records, parquet, xlsx
from assay.data.formats.delimiter import find_delimiter
from assay.data.formats.record import Raw
from assay.data.problems import Problem, problem
from assay.data.source import (
    SAMPLE,
    ending_of,
    kind_of,
    refuse_binary,
    refuse_document,
    refuse_prose,
)
from assay.errors import DataError

Container = Literal["jsonl", "json", "table", "parquet", "xlsx", "hf"]

_SAMPLED = 20
"""Good records that tell the shape, found among the first `_SEARCHED`."""
_SEARCHED = 1000


@dataclass(frozen=True, slots=True)
class FileInspection:
    """What a file is, and how to get its records.

    Attributes:
        file: as the user named it.
        container: how records are kept in it.
        fields: columns that can be used, or keys of the sampled records.
        sample: the first good records, at most 20.
        notices: problems of the file as a whole.
        header_is_data: the first line of the table is probably a row.
        one_object: the file is a single JSON object.
    """

    file: str
    container: Container
    records: Callable[[], Iterator[Raw]]
    encoding: str | None = None
    newline: str | None = None
    delimiter: str | None = None
    sheets: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    sample: tuple[dict[str, Any], ...] = ()
    notices: tuple[Problem, ...] = ()
    header_is_data: bool = False
    one_object: bool = False


def inspect_file(address: Path | str, forced: str | None = None) -> FileInspection:
    """Inspect a file (`FILE#Sheet`) or a data set of the hub (`hf:org/name:split`).

    Args:
        address: a path or a name of the hub.
        forced: a format's name that decides between JSONL, JSON, CSV and TSV.

    Raises:
        DataError: it cannot be opened, has no rows, or is nothing that Assay reads.
    """
    file = str(address)
    if file.startswith(hub.PREFIX):
        return _sampled(FileInspection(file, "hf", lambda: hub.read_rows(file)))
    path, sheet = split_sheet(Path(address))
    kind, head = kind_of(path)
    if kind == "xlsx":
        return _inspect_workbook(path, file, sheet)
    if sheet is not None:
        raise DataError(
            "this file is not a workbook, so it has no sheets.",
            where=file,
            fix=f"Use {path} without a sheet.",
        )
    if kind == "parquet":
        fields = parquet.fields(path, file)
        content = FileInspection(
            file, "parquet", lambda: parquet.read_rows(path, file), fields=fields
        )
        return _sampled(content)
    return _inspect_text(path, file, head, forced)


def _inspect_workbook(path: Path, file: str, sheet: str | None) -> FileInspection:
    names = xlsx.sheets(path, file)
    header = xlsx.read_header(path, file, sheet)
    notices = () if sheet else xlsx.sheets_notice(names, file)
    content = FileInspection(
        file,
        "xlsx",
        lambda: xlsx.read_rows(path, file, sheet),
        sheets=names,
        fields=header.usable,
        notices=(*notices, *header.problems(file, 1)),
        header_is_data=header.looks_like_data,
    )
    return _sampled(content)


def _inspect_text(path: Path, file: str, head: bytes, forced: str | None) -> FileInspection:
    encoding = find_encoding(path, head)
    name = encoding.name
    text = decode_head(head, name)
    refuse_binary(path, text)
    if not text.strip():
        raise DataError(
            "the file contains only white space.",
            where=file,
            fix="Choose a file that contains examples.",
        )
    notices = (_guessed(file, name),) if encoding.guessed else ()
    container = _text_container(text, path.name, forced)
    newline = find_newline(text)
    if container == "jsonl":
        return _sampled(
            FileInspection(
                file,
                "jsonl",
                lambda: json_records.read_lines(path, file, name),
                name,
                newline,
                notices=notices,
            )
        )
    if container == "json":
        content = _sampled(
            FileInspection(
                file,
                "json",
                lambda: json_records.read_array(path, file, name),
                name,
                newline,
                notices=notices,
            )
        )
        alone = not text.lstrip().startswith("[") and len(list(islice(content.records(), 2))) == 1
        return replace(content, one_object=alone)
    refuse_document(path)
    whole = len(head) < SAMPLE
    delimiter = "\t" if forced == "tsv" else find_delimiter(text, whole=whole)
    header = delimited.read_header(path, file, name, delimiter)
    content = FileInspection(
        file,
        "table",
        lambda: delimited.read_table(path, file, name, delimiter),
        name,
        newline,
        delimiter,
        fields=header.usable,
        notices=(*notices, *header.problems(file, 1)),
        header_is_data=header.looks_like_data,
    )
    refuse_prose(path, (bool(raw.problems) for raw in islice(content.records(), _SAMPLED)))
    return _sampled(content)


def _guessed(file: str, encoding: str) -> Problem:
    return problem(
        "encoding-guessed",
        file,
        1,
        f"it was read as {encoding}, in which many programs save; it does not say so itself.",
        "Check that letters such as é, ü or ł look right. If not, save the file as UTF-8 (in "
        "Excel: CSV UTF-8).",
    )


def _text_container(text: str, name: str, forced: str | None) -> Container:
    """JSON Lines, JSON or a table, by the start of a text."""
    if forced in ("csv", "tsv"):
        return "table"
    if forced in ("jsonl-objects", "json-objects"):
        return "jsonl" if forced == "jsonl-objects" else "json"
    start = text.lstrip()
    lines = [line for line in start[:SAMPLE].splitlines() if line.strip()][:_SAMPLED]
    if len(start) >= SAMPLE // 4 and len(lines) > 1 and len(lines) < _SAMPLED:
        lines.pop()  # cut off by the end of the sample
    if start[0] == "[" and start[1:].lstrip()[:1] in tuple('{["]'):
        # One array, or lists one a line (which are no records, but each is told on its line).
        listed = len(lines) > 1 and all(_value(line) is not None for line in lines[:2])
        return "jsonl" if listed else "json"
    objects = sum(isinstance(_value(line), dict) for line in lines)
    if objects * 2 >= len(lines) or (objects and start[0] == "{"):
        return "jsonl"
    by_line = ending_of(name) in (".jsonl", ".ndjson")
    if start[0] == "{":
        one_long_line = "\n" not in start and "\r" not in start
        is_record = lines[0].rstrip().endswith("}") or one_long_line
        return "jsonl" if by_line and is_record else "json"
    return "jsonl" if by_line else "table"


def _value(line: str) -> Any:
    try:
        return json_reader.read(line)
    except ValueError:
        return None


def _sampled(content: FileInspection) -> FileInspection:
    """The inspection with its first good records.

    Raises:
        DataError: there is not one record.
    """
    good: list[dict[str, Any]] = []
    seen = 0
    for raw in islice(content.records(), _SEARCHED):
        seen += 1
        if not raw.problems:
            good.append(raw.value)
        if len(good) == _SAMPLED:
            break
    if not seen:
        what = "no rows below the header" if content.container in ("table", "xlsx") else "no rows"
        raise DataError(
            f"the file has {what}.", where=content.file, fix="Choose a file that contains examples."
        )
    fields = content.fields or tuple(dict.fromkeys(str(key) for record in good for key in record))
    return replace(content, fields=fields, sample=tuple(good))
