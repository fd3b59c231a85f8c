"""One record of a file changed or taken out, every other byte as it was.

    before = record_at(path, 12)
    rewrite(path, 12, {**before, "output": "card_lost"}, before)

Files of lines only (JSONL, CSV, TSV): a workbook, a Parquet file or a JSON array is better changed
in the program that wrote it.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from assay.data.encoding import open_text
from assay.data.formats.delimited import read_header
from assay.data.look import Look, look_at
from assay.errors import DataError, UsageError
from assay.store.files import write_atomic


def record_at(path: Path, line: int) -> Any:
    """What stands at a line: fields by name; text where the line is no record; None: unreadable.

    Raises:
        DataError: no record begins there, or the file cannot be read.
        UsageError: files of this kind are not changed here.
    """
    look = _look(path)
    for raw in look.records():
        if raw.line == line:
            if look.container == "table" and isinstance(raw.value, list):
                return _named(path, look, raw.value)
            return raw.value
    raise _gone(path, line)


def rewrite(path: Path, line: int, record: dict[str, Any] | None, before: Any) -> None:
    """Put a record in the place of the one at a line; None takes it out.

    Args:
        before: what `record_at` said: a file that says something else by now is left as it is.

    Raises:
        DataError: the file has changed since, or cannot be read.
        UsageError: files of this kind are not changed here, or the record has other columns.
    """
    look = _look(path)
    if record_at(path, line) != before:
        raise DataError(
            "this row has changed since you looked at it; nothing was written.",
            where=f"{path}, line {line}",
            fix="Look again.",
        )
    starts = [raw.line for raw in look.records()]
    following = [start for start in starts if start > line]
    with open_text(path, look.encoding or "utf-8") as text:
        lines = text.readlines()
    end = following[0] - 1 if following else len(lines)
    fresh = [] if record is None else [_line(path, look, record)]
    body = "".join([*lines[: line - 1], *fresh, *lines[end:]])
    wide = (look.encoding or "").startswith(("utf-16", "utf-32"))
    errors = "strict" if wide else "surrogateescape"
    write_atomic(path, body.encode(look.encoding or "utf-8", errors))


def _look(path: Path) -> Look:
    if path.suffix == ".gz" or not path.is_file():
        raise _other(path)
    look = look_at(path)
    if look.container not in ("jsonl", "table"):
        raise _other(path)
    return look


def _line(path: Path, look: Look, record: dict[str, Any]) -> str:
    end = look.newline or "\n"
    if look.container == "jsonl":
        return json.dumps(record, ensure_ascii=False) + end
    names = list(_named(path, look, []))
    if list(record) != names:
        raise UsageError(f"the row has the columns {', '.join(names)}.")
    out = io.StringIO()
    csv.writer(out, delimiter=look.delimiter or ",", lineterminator=end).writerow(record.values())
    return out.getvalue()


def _named(path: Path, look: Look, cells: list[str]) -> dict[str, str]:
    """Cells of a row, too few or too many, by the columns that there are."""
    header = read_header(path, look.file, look.encoding or "utf-8", look.delimiter or ",")
    missing = [""] * max(0, len(header.names) - len(cells))
    return header.record([*cells, *missing][: len(header.names)])


def _gone(path: Path, line: int) -> DataError:
    return DataError("no row begins here (any more).", where=f"{path}, line {line}")


def _other(path: Path) -> UsageError:
    return UsageError(
        "only rows of JSONL, CSV and TSV files can be changed here.",
        where=str(path),
        fix="Change it in the program that wrote it, and bring it again.",
    )
