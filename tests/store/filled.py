"""A database with rows in every table, with the values that two databases keep differently."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    String,
    Text,
    insert,
    null,
)

from assay.store.store import Store
from assay.store.tables import SettingRow, Table, UtcDateTime

ROWS = 7
_TEXTS = ("a", "B", "ä", "Z-9", "z_9", "é\u0301", "😀 \\ ' \" \n%s :x")
"""In another order in most locales than by their bytes."""


def fill(store: Store, rows: int = ROWS) -> None:
    """Add rows to every table; the settings that are there stay."""
    with store.engine.begin() as connection:
        for table in Table.metadata.sorted_tables:
            for number in range(rows):
                values = {c.name: _value(c, number) for c in table.columns}
                connection.execute(insert(table).values(values))


def _value(column: Column[Any], number: int) -> Any:
    kind = column.type
    if column.nullable and number % 3 == 0:
        return null()
    if column.foreign_keys:
        (key,) = column.foreign_keys
        return _value(key.column, number)
    if isinstance(kind, JSON):
        return (None, {}, [], {"z": 1, "a": [1.0, 1e-300, "ä\u0000"]}, {"n": None}, 0.1, "text")[
            number % 7
        ]
    if isinstance(kind, UtcDateTime):
        return datetime(2026, 3, 29, 1, 30, tzinfo=UTC) + timedelta(
            hours=number, microseconds=number
        )
    if isinstance(kind, Boolean):
        return number % 2 == 0
    if isinstance(kind, BigInteger):
        return 2**53 + number
    if isinstance(kind, Integer):
        return 2**31 - 100 - 10 * number if column.primary_key else number - 1
    if isinstance(kind, Float):
        return (0.1, -0.0, 1e-308, 1.0, 1 / 3, 1e300, 5)[number % 7]
    if isinstance(kind, LargeBinary):
        return bytes(range(256))[number:]
    assert isinstance(kind, (String, Text)), kind
    if column.table is SettingRow.__table__ and column.primary_key:
        return f"setting {number}"
    said = _TEXTS[number % 7]
    return f"{said[0]}{number} {said} {column.name}"[: kind.length]
