"""Which columns of a table become numbers of a record: cells are texts, as CSV has no others."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from assay.config import Columns
from assay.data.formats.objects import CELL_ERRORS
from assay.data.formats.record import WHOLE_BELOW, number_of
from assay.data.inspection import inspect_file

MOST_ROWS = 20_000
"""Rows of each file that are looked at."""


def with_numbers(columns: Columns, file: Path, holdout: Path | None = None) -> Columns:
    """The columns with those named as numbers whose cells all are: of a table (CSV, Excel) with
    several output columns. Other files say of each value what it is.

    A column of which no cell is filled, or one holds a text, a code such as 007, or more digits
    than a spreadsheet keeps, stays text.

    Args:
        holdout: the holdout's own file, which is read by the same columns.
    """
    if len(columns.output) == 1:
        return columns
    contents = [inspect_file(one) for one in (file, holdout) if one is not None]
    if contents[0].container not in ("table", "xlsx"):
        return columns
    left, filled = set(columns.output), set()
    for content in contents:
        for raw in islice(content.records(), MOST_ROWS):
            if raw.problems or not isinstance(raw.value, dict):
                continue
            for name in list(left):
                if (value := raw.value.get(name)) not in (None, "", *CELL_ERRORS):
                    filled.add(name)
                    if not _is_number(value):
                        left.remove(name)
    return columns.model_copy(
        update={"numbers": [name for name in columns.output if name in left & filled]}
    )


def _is_number(value: Any) -> bool:
    try:
        number = number_of(value)
    except ValueError:
        return False
    return number is None or abs(number) < WHOLE_BELOW
