"""Records of a file changed, taken out or added, every other byte as it was.

    before = record_at(path, 12)
    rewrite(path, 12, {**before, "output": "card_lost"}, before)
    append(path, [{"input": "Where is my card?", "output": "card_arrival"}])

Files of lines only (JSONL, CSV, TSV): a workbook, a Parquet file or a JSON array is better changed
in the program that wrote it. A file whose encoding lacks a character becomes UTF-8 where that is
allowed: its rows say the same, on the same lines.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.data.encoding import open_text
from assay.data.formats import xlsx
from assay.data.formats.delimited import read_header
from assay.data.formats.record import json_text, text_of
from assay.data.inspection import FileInspection, inspect_file
from assay.errors import DataError, UsageError
from assay.store.files import write_atomic


@dataclass(frozen=True, slots=True)
class Conversion:
    """A file that is UTF-8 now.

    Attributes:
        encoding: that it had.
        character: which that encoding lacks.
    """

    encoding: str
    character: str

    def describe(self, file: str) -> str:
        """What was done, for a person who calls the file so."""
        return (
            f"{file} was saved as UTF-8, because it was written in {self.encoding}, which has no "
            f"{self.character!r}."
        )


def record_at(path: Path, line: int) -> Any:
    """What stands at a line: fields by name; text where the line is no record; None: unreadable.

    Raises:
        DataError: no record begins there, or the file cannot be read.
        UsageError: files of this kind are not changed here.
    """
    content = _look(path)
    for raw in content.records():
        if raw.line == line:
            if content.container == "table" and isinstance(raw.value, list):
                return _named(path, content, raw.value)
            return raw.value
    raise _gone(path, line)


def rewrite(
    path: Path,
    line: int,
    record: dict[str, Any] | None,
    before: Any,
    *,
    may_convert: bool = False,
) -> Conversion | None:
    """Put a record in the place of the one at a line; None takes it out.

    Args:
        before: what `record_at` said: a file that says something else by now is left as it is.
        may_convert: the file may become UTF-8, where its encoding lacks a character.

    Raises:
        DataError: the file has changed since, its encoding lacks a character, or it cannot be read.
        UsageError: files of this kind are not changed here, or the record has other columns.
    """
    content = _look(path)
    if record_at(path, line) != before:
        raise DataError(
            "this row has changed since you opened it, so nothing was written.",
            where=f"{path}, line {line}",
            fix="Open the row again.",
        )
    starts = [raw.line for raw in content.records()]
    following = [start for start in starts if start > line]
    with open_text(path, content.encoding or "utf-8") as text:
        lines = text.readlines()
    end = following[0] - 1 if following else len(lines)
    fresh = [] if record is None else [_line(path, content, record)]
    body = "".join([*lines[: line - 1], *fresh, *lines[end:]])
    return _write(path, content, body, may_convert)


def find_unwritable(path: Path, records: Sequence[dict[str, Any]]) -> dict[int, Conversion]:
    """The records, by their place, for which a file would have to become UTF-8."""
    encoding = _look(path).encoding or "utf-8"
    found = {}
    for place, record in enumerate(records):
        text = json_text(record)
        try:
            text.encode(encoding)
        except UnicodeEncodeError as error:
            found[place] = Conversion(encoding, text[error.start])
    return found


def append(
    path: Path, records: Sequence[dict[str, Any]], *, may_convert: bool = False
) -> Conversion | None:
    """Write records below the last one; of a table's columns those that a record lacks are empty,
    and what it has beside them is left out.

    Args:
        may_convert: as of `rewrite`.

    Raises:
        DataError: the file's encoding lacks a character, or it cannot be read.
        UsageError: files of this kind are not changed here.
    """
    content = _look(path)
    with open_text(path, content.encoding or "utf-8") as text:
        body = text.read()
    end = content.newline or "\n"
    if not body.endswith(("\n", "\r")):
        body += end
    if content.container == "table":
        names = list(_named(path, content, []))
        records = [{name: text_of(record.get(name)) for name in names} for record in records]
    body += "".join(_line(path, content, record) for record in records)
    return _write(path, content, body, may_convert)


def _write(path: Path, content: FileInspection, body: str, may_convert: bool) -> Conversion | None:
    encoding, converted = content.encoding or "utf-8", None
    errors = "strict" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    try:
        written = body.encode(encoding, errors)
    except UnicodeEncodeError as error:
        converted = Conversion(encoding, body[error.start])
        # With a mark at the start, by which Excel and whoever reads it know: a few broken bytes
        # would make a guess of it otherwise.
        written = body.encode("utf-8-sig", "surrogateescape") if may_convert else b""
        if written.decode("utf-8-sig", "surrogateescape") != body:
            raise DataError(
                f"the file is written in {encoding}, which has no {converted.character!r}; nothing "
                "was written.",
                where=str(path),
                fix="Save the file as UTF-8, or leave this character out.",
            ) from None
    write_atomic(path, written)
    return converted


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """What became of the records of a file.

    Attributes:
        changed: how many were changed or taken out.
        lines: where each stood before, by the line at which it stands now.
    """

    changed: int
    lines: dict[int, int]


def rewrite_all(
    path: Path, change: Callable[[int, dict[str, Any]], dict[str, Any] | None]
) -> RewriteResult:
    """Put what `change` makes of each record, given its line, in its place; None takes it out.

    Lines that are no record stay, and so does every byte of a record that is as it was, unless the
    file becomes UTF-8 since its encoding lacks a character.

    Raises:
        UsageError: files of this kind are not changed here.
    """
    content = _look(path)
    found = list(content.records())
    with open_text(path, content.encoding or "utf-8") as text:
        lines = text.readlines()
    body = lines[: found[0].line - 1]
    count, places = 0, {}
    for raw, following in zip(
        found, [*(one.line for one in found[1:]), len(lines) + 1], strict=True
    ):
        kept = lines[raw.line - 1 : following - 1]
        if not raw.problems and isinstance(raw.value, dict):
            made = change(raw.line, raw.value)
            if made != raw.value:
                count += 1
                # A cell may hold line ends, which count as lines do where the file is read.
                fresh = "" if made is None else _line(path, content, made)
                kept = list(io.StringIO(fresh, newline=""))
        if kept:
            places[len(body) + 1] = raw.line
        body += kept
    if count:
        _write(path, content, "".join(body), may_convert=True)
    return RewriteResult(count, places)


def write_as_csv(workbook: Path, to: Path) -> dict[int, int]:
    """Write the first sheet of a workbook as CSV in UTF-8, whose rows can be changed.

    It is read as the workbook is: formulas are their results or errors such as #REF!, columns have
    the names that they have there, blank or repeated ones too, and so many cells as there are.
    Empty rows are left out.

    Returns:
        the row of the sheet that stands at a line, by that line.

    Raises:
        DataError: the workbook cannot be read.
    """
    content = inspect_file(workbook)
    header = xlsx.read_header(workbook, content.file, None)
    places: list[int] = []
    with to.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")  # it quotes a cell with either
        writer.writerow(header.names)
        for raw in content.records():
            places.append(raw.line)
            # A list: more cells than columns.
            writer.writerow(raw.value.values() if isinstance(raw.value, dict) else raw.value)
    return {raw.line: row for raw, row in zip(_look(to).records(), places, strict=True)}


def _look(path: Path) -> FileInspection:
    if path.suffix == ".gz" or not path.is_file():
        raise _other(path)
    content = inspect_file(path)
    if content.container not in ("jsonl", "table"):
        raise _other(path)
    return content


def _line(path: Path, content: FileInspection, record: dict[str, Any]) -> str:
    end = content.newline or "\n"
    if content.container == "jsonl":
        return json_text(record) + end
    names = list(_named(path, content, []))
    if list(record) != names:
        raise UsageError(f"the columns must be {', '.join(names)}, in this order.")
    out = io.StringIO()
    # Whatever ends the lines of the file, a cell with a CR or an LF has to be quoted.
    writer = csv.writer(out, delimiter=content.delimiter or ",", lineterminator="\r\n")
    writer.writerow(record.values())
    return out.getvalue().removesuffix("\r\n") + end


def _named(path: Path, content: FileInspection, cells: list[str]) -> dict[str, str]:
    """Cells of a row, too few or too many, by the columns that there are.

    Cells beyond the last column stand in it, so that whoever mends the row sees them all.
    """
    delimiter = content.delimiter or ","
    header = read_header(path, content.file, content.encoding or "utf-8", delimiter)
    last = len(header.names) - 1
    missing = [""] * max(0, last + 1 - len(cells))
    surplus = [delimiter.join(cells[last:])] if len(cells) > last else []
    return header.record([*cells[:last], *surplus, *missing])


def _gone(path: Path, line: int) -> DataError:
    return DataError(
        "no row starts at this line; the file may have changed.", where=f"{path}, line {line}"
    )


def _other(path: Path) -> UsageError:
    return UsageError(
        "only rows of JSONL, CSV and TSV files can be edited here.",
        where=str(path),
        fix="Edit the file in the program that created it and put it in the place of this one, or "
        "save it there as CSV and name that file in `data.file` of assay.yaml.",
    )
