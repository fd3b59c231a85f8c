"""Which columns of a table become numbers of a record: cells are texts, as CSV has no others."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

from assay.config import Columns
from assay.data.formats.objects import CELL_ERRORS
from assay.data.formats.record import WHOLE_BELOW, number_of, text_of
from assay.data.inspection import inspect_file

_MOST_SPELLINGS = 100_000
"""Numbers of a column whose spelling is remembered: codes and versions are few."""
_UNSIGNED_EXPONENT = re.compile(r"\d[eE]\d")


def with_numbers(columns: Columns, file: Path, holdout: Path | None = None) -> Columns:
    """The columns with those named as numbers whose cells all are: of a table (CSV, Excel) with
    several output columns. Other files say of each value what it is.

    A column of which no cell is filled, or one holds a text, a code such as 007 or 1E5, or more
    digits than a spreadsheet keeps, stays text; so does one where zeros at the end tell two cells
    apart (the versions 1.1 and 1.10).

    Args:
        holdout: the holdout's own file, which is read by the same columns.
    """
    if len(columns.output) == 1:
        return columns
    contents = [inspect_file(one) for one in (file, holdout) if one is not None]
    if contents[0].container not in ("table", "xlsx"):
        return columns
    left: dict[str, dict[float, str]] = {name: {} for name in columns.output}
    filled = set()
    for raw in chain.from_iterable(content.records() for content in contents):
        if raw.problems or not isinstance(raw.value, dict):
            continue
        for name, spellings in list(left.items()):
            text = text_of(raw.value.get(name)).strip()
            if text and text not in CELL_ERRORS:
                filled.add(name)
                if not is_number(text, spellings):
                    del left[name]
        if not left:
            break
    return columns.model_copy(
        update={"numbers": [name for name in columns.output if name in left and name in filled]}
    )


def is_number(text: str, spellings: dict[float, str]) -> bool:
    """Whether a cell, with those before it, holds a number.

    Args:
        spellings: of numbers with a point so far; this one is added.
    """
    try:
        number = number_of(text)
    except ValueError:
        return False
    if number is None or abs(number) >= WHOLE_BELOW or _UNSIGNED_EXPONENT.search(text):
        return False
    if "." not in text:
        return True
    if len(spellings) < _MOST_SPELLINGS:
        spellings.setdefault(number, text)
    first = spellings.get(number, text)
    return first == text or first.rstrip("0") != text.rstrip("0")  # as 1.5 and 1.5e+0 are
