"""What parts the cells of a CSV file, found by its content.

Imports nothing of Assay: the process that reads a stranger's documents loads this file by its path
(`knowledge/parse_worker.py`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice

DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_ROWS = 200


def find_delimiter(sample: str, *, whole: bool) -> str:
    """The delimiter that cuts the sampled rows into the same number of cells most often.

    `whole` says that the sample is the whole file; else its last row may be cut off and is left
    out. A file of one column has none of them: a comma is returned.
    """
    scored = []
    for rank, delimiter in enumerate(DELIMITERS):
        rows = list(islice(_sampled(sample, delimiter), _SNIFFED_ROWS))
        if not whole and len(rows) > 1:
            rows.pop()
        width = len(rows[0]) if rows else 0
        if width > 1:
            same = sum(len(row) == width for row in rows) / len(rows)
            scored.append((same, width, -rank, delimiter))
    return max(scored)[-1] if scored else ","


def _sampled(sample: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(sample.splitlines(keepends=True), delimiter=delimiter)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:  # a broken row tells nothing about the delimiter
            continue
        if row:
            yield row
