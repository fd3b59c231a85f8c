"""CSV and TSV: the header checked, rows streamed.

The parser is Python's csv module in strict mode, so that an unclosed quote is an error and not a
cell that swallows the rest of the file.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assay.data.encoding import Lines, open_text
from assay.data.formats.json_records import defective
from assay.data.formats.record import FIELD_LIMIT, Raw, too_large
from assay.data.problems import Problem, problem
from assay.errors import DataError


@dataclass(frozen=True, slots=True)
class Header:
    """The column names of a table.

    Attributes:
        names: as written, white space around them cut.
        usable: those that are neither blank nor written twice.
        looks_like_data: the first line is probably a row.
    """

    names: tuple[str, ...]
    usable: tuple[str, ...]
    looks_like_data: bool

    @classmethod
    def of(cls, cells: list[str]) -> Header:
        """The header in the cells of a first row."""
        names = tuple(cell.strip() for cell in cells)
        counts = Counter(names)
        data = any(_is_number(n) or len(n) > 100 or "\n" in n for n in names)
        return cls(names, tuple(n for n in names if n and counts[n] == 1), data)

    def problems(self, file: str, line: int) -> tuple[Problem, ...]:
        """Notices about columns that cannot be used."""
        found = []
        blanks = [str(i + 1) for i, n in enumerate(self.names) if not n]
        if blanks:
            found.append(
                problem(
                    "blank-column",
                    file,
                    line,
                    f"the header has no name for column {', '.join(blanks)}, so it is not used.",
                    "Add a name to the header if you need it.",
                )
            )
        for name, count in Counter(self.names).items():
            if name and count > 1:
                found.append(
                    problem(
                        "duplicate-column",
                        file,
                        line,
                        f"{count} columns are called {name}; none of them is used.",
                        "Give each column a unique name.",
                        field=name,
                    )
                )
        return tuple(found)

    def record(self, cells: list[str]) -> dict[str, str]:
        """A row as a record; blank and doubled names get their column number."""
        if len(self.usable) == len(self.names):
            return dict(zip(self.names, cells, strict=True))
        return {
            name if name in self.usable else f"{name}#{i + 1}": cell
            for i, (name, cell) in enumerate(zip(self.names, cells, strict=True))
        }


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdigit()


def read_header(path: Path, file: str, encoding: str, delimiter: str) -> Header:
    """The first row that is not blank.

    Raises:
        DataError: there is none, or it is broken.
    """
    for raw in _rows(path, file, encoding, delimiter):
        if raw.problems:
            raise DataError(
                raw.problems[0].message, where=f"{file}, line {raw.line}", fix=raw.problems[0].fix
            )
        return Header.of(raw.value)
    raise DataError(
        "the file has no rows.", where=file, fix="Choose a file that contains examples."
    )


def read_table(path: Path, file: str, encoding: str, delimiter: str) -> Iterator[Raw]:
    """The rows below the header, as records of text."""
    rows = _rows(path, file, encoding, delimiter)
    first = next(rows, None)
    if first is None or first.problems:
        return
    header = Header.of(first.value)
    width, record = len(header.names), header.record
    for raw in rows:
        if raw.problems:
            yield raw
        elif len(raw.value) != width:
            yield Raw(raw.line, raw.value, (ragged(file, raw.line, len(raw.value), width),))
        else:
            yield Raw(raw.line, record(raw.value))


def ragged(file: str, line: int, cells: int, width: int) -> Problem:
    """The problem of a row with too many or too few cells."""
    fix = (
        "Put quotes around a cell that contains the delimiter. The page Data shows surplus cells "
        "in the last column, and quotes what you save."
        if cells > width
        else "Add the missing cells, and put quotes around a cell that spans several lines."
    )
    return problem(
        "ragged-row",
        file,
        line,
        f"the row has {cells} cells, but the header has {width} columns.",
        fix,
    )


def _rows(path: Path, file: str, encoding: str, delimiter: str) -> Iterator[Raw]:
    """Lists of cells with the line each row starts on; blank lines are skipped."""
    csv.field_size_limit(FIELD_LIMIT)  # the module's own limit, 128 KB, is global
    with open_text(path, encoding) as text:
        lines = Lines(text, file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            line = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                lines.defect = None
                last = lines.number
                yield Raw(line, None, (_broken(file, line, last, error),))
                for swallowed in range(line + 1, last + 1):
                    yield Raw(swallowed, None, (_swallowed(file, line, swallowed),))
                continue
            if lines.defect:
                defect, lines.defect = lines.defect, None
                yield Raw(line, cells, (defective(file, line, defect),))
            elif cells:
                yield Raw(line, cells)


def _broken(file: str, line: int, last: int, error: csv.Error) -> Problem:
    if "field limit" in str(error):
        found = too_large(file, line, None)
        more = " Or a quote in it is never closed." if last > line else ""
        return problem(found.code, file, line, found.message + more, found.fix)
    if "unexpected end" in str(error):
        what = f"a quote is opened here but not closed before the end of the file (line {last})."
        return problem(
            "broken-quotes", file, line, what, "Close it, and write each quote inside it twice."
        )
    what = f"text follows a closing quote ({error})."
    if last > line:
        what = f"the quote opened here is closed in line {last}, but more text follows it there."
    fix = 'Write a quote inside a quoted cell twice: "".'
    return problem("broken-quotes", file, line, what, fix)


def _swallowed(file: str, opened: int, line: int) -> Problem:
    """A line that may have been a row: nobody can tell, but it is not lost without a word."""
    what = f"this line is inside the quote opened in line {opened} and was not read."
    return problem("broken-quotes", file, line, what, f"Fix line {opened}.")
