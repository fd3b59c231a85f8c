"""Parquet: columns of the schema, read in batches, so that memory is bounded by a row group."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.data.formats.record import FIELD_LIMIT, Raw, too_large
from assay.data.problems import problem
from assay.errors import DataError

_BATCH = 1000
"""Rows that are turned into Python objects at a time."""


def _open(path: Path, file: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"the Parquet file is damaged or was cut off ({str(error).splitlines()[0]}).",
            where=file,
            fix="Write or copy it again.",
        ) from None


def fields(path: Path, file: str) -> tuple[str, ...]:
    """The names of its columns."""
    with _open(path, file) as table:
        return tuple(table.schema_arrow.names)


def read_rows(path: Path, file: str) -> Iterator[Raw]:
    """The rows as records, numbered from 1; NaN is read as missing, as pandas writes it."""
    import pyarrow as pa

    number = 0
    with _open(path, file) as table:
        try:
            for batch in table.iter_batches(batch_size=_BATCH):
                for record in batch.to_pylist():
                    number += 1
                    yield _checked(_plain(record), file, number)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"the Parquet file is damaged ({str(error).splitlines()[0]}).",
                where=f"{file}, after row {number}",
                fix="Write or copy it again.",
            ) from None


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
                    "nul-byte", file, number, "the text holds a NUL.", "Remove it.", field=name
                )
                return Raw(number, record, (found,))
        elif isinstance(value, bytes):
            found = problem(
                "wrong-type",
                file,
                number,
                f"the column {name} holds bytes, not text.",
                "Write it as a string column.",
                field=name,
            )
            return Raw(number, {**record, name: None}, (found,))
    return Raw(number, record)
