"""Parquet: columns of the schema, read in batches, so that memory is bounded by a row group."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.data.formats.record import FIELD_LIMIT, Raw, damaged, guard, too_large
from assay.data.problems import problem

_BATCH = 1000
"""Rows that are turned into Python objects at a time."""


def _open(path: Path, file: str) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except Exception as error:
        raise damaged("Parquet file", error, file) from None


def fields(path: Path, file: str) -> tuple[str, ...]:
    """The names of its columns."""
    with _open(path, file) as table:
        return tuple(table.schema_arrow.names)


def read_rows(path: Path, file: str) -> Iterator[Raw]:
    """The rows as records, numbered from 1; NaN is read as missing, as pandas writes it."""
    number = 0
    with _open(path, file) as table:
        batches = (batch.to_pylist() for batch in table.iter_batches(batch_size=_BATCH))
        for records in guard(batches, "Parquet file", file):
            for record in records:
                number += 1
                yield _checked(_plain(record), file, number)


def _plain(value: Any) -> Any:
    """NaN as None at any depth."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _checked(record: dict[str, Any], file: str, number: int) -> Raw:
    for name, value in record.items():
        if isinstance(value, str):
            if len(value) > FIELD_LIMIT:
                return Raw(number, {}, (too_large(file, number, name),))
            if "\0" in value:
                found = problem(
                    "nul-byte",
                    file,
                    number,
                    "the text contains a NUL character.",
                    "Remove it.",
                    field=name,
                )
                return Raw(number, record, (found,))
        elif isinstance(value, bytes):
            found = problem(
                "wrong-type",
                file,
                number,
                f"the column {name} contains bytes, not text.",
                "Write it as a string column.",
                field=name,
            )
            return Raw(number, {**record, name: None}, (found,))
    return Raw(number, record)
