"""All rows of a state, from one database to another, and whether they are the same there.

    copied = copy_rows(source, target, progress)     # in the caller's two transactions
    check_rows(target, copied, progress)

Rows are read and written in batches, tables in the order of their foreign keys. The same rows have
the same SHA-256 in every database: it is that of their values, in order of the primary key, as the
tables' types read them (a time in UTC, a flag as true or false, JSON as the text that was
written: null in SQL and `null` in JSON are two).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import (
    JSON,
    Cast,
    ColumnElement,
    Connection,
    Select,
    String,
    TableClause,
    Text,
    cast,
    collate,
    column,
    func,
    insert,
    select,
    table,
)
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.types import UserDefinedType

from assay.errors import StateError
from assay.progress import Progress
from assay.quantities import say_count
from assay.store.database import FOLDER
from assay.store.tables import SettingRow, Table

BATCH = 100
"""Rows in memory at a time."""


@dataclass(frozen=True, slots=True)
class TableContent:
    """What a table holds.

    Attributes:
        sha256: of its rows (hex), see the module.
    """

    name: str
    rows: int
    sha256: str


def count_rows(connection: Connection) -> dict[str, int]:
    """How many rows each table has, by its name."""
    counts = {}
    for one in _tables():
        query = select(func.count()).select_from(one)
        counts[one.name] = int(connection.scalar(query) or 0)
    return counts


def copy_rows(source: Connection, target: Connection, progress: Progress) -> list[TableContent]:
    """Copy all rows into tables that are empty, and let new rows be numbered behind them.

    Raises:
        StateError: the target refuses a row.
    """
    copied = []
    with progress.task("Copying rows", sum(count_rows(source).values()), "rows") as task:
        for one in _tables():
            into = insert(_plain(one))
            content = _Content()
            for rows in _batches(source, one):
                content.add(rows)
                try:
                    target.execute(into, rows)
                except (DataError, IntegrityError) as error:
                    raise _refused(one, rows, error) from None
                task.advance(len(rows), table=one.name)
            copied.append(content.of(one))
            _number_behind(target, one)
    return copied


def check_rows(target: Connection, copied: Sequence[TableContent], progress: Progress) -> None:
    """See that the tables hold what was copied.

    Raises:
        StateError: one does not.
    """
    with progress.task("Comparing rows", sum(one.rows for one in copied), "rows") as task:
        for one, before in zip(_tables(), copied, strict=True):
            content = _Content()
            for rows in _batches(target, one):
                content.add(rows)
                task.advance(len(rows), table=one.name)
            found = content.of(one)
            if found != before:
                raise StateError(
                    f"the table {one.name} is not the same after it was copied ("
                    f"{say_count(before.rows, 'row')} before, {found.rows} after). Nothing was "
                    "changed.",
                    fix="Try again. If it happens again, please report it: it is an error of Assay "
                    "or of the database.",
                )


def empty_tables(target: Connection) -> None:
    """Delete all rows, in the caller's transaction."""
    for one in reversed(_tables()):
        target.execute(one.delete())


class _Content:
    def __init__(self) -> None:
        self._digest, self._rows = hashlib.sha256(), 0

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows += len(rows)
        for row in rows:
            line = json.dumps(list(row.values()), default=_written, ensure_ascii=False)
            self._digest.update(line.encode("utf-8", "surrogatepass") + b"\n")

    def of(self, one: sqlalchemy.Table) -> TableContent:
        return TableContent(one.name, self._rows, self._digest.hexdigest())


def _written(value: object) -> object:
    """A value that JSON has no word for."""
    if isinstance(value, datetime):
        return {"time": value.isoformat(timespec="microseconds")}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    raise TypeError(f"a value of {type(value)} has no canonical form")


class _JsonText(UserDefinedType[str]):
    """A column of type json as the text that it keeps; SQLite keeps a bare number as one."""

    cache_ok = True

    def column_expression(self, colexpr: ColumnElement[Any]) -> Cast[str]:
        return cast(colexpr, Text)


def _tables() -> list[sqlalchemy.Table]:
    """Every table behind those that its foreign keys name."""
    return Table.metadata.sorted_tables


def _plain(one: sqlalchemy.Table) -> TableClause:
    """A table whose JSON is text; nothing is filled in that a row does not say."""
    text = _JsonText()
    columns = (column(c.name, text if isinstance(c.type, JSON) else c.type) for c in one.columns)
    return table(one.name, *columns)


def _batches(connection: Connection, one: sqlalchemy.Table) -> Iterator[list[dict[str, Any]]]:
    query = _in_order(one, connection)
    found = connection.execute(query, execution_options={"yield_per": BATCH})
    for rows in found.mappings().partitions():
        yield [dict(row) for row in rows]


def _in_order(one: sqlalchemy.Table, connection: Connection) -> Select[Any]:
    """All rows by primary key; texts by their bytes, as SQLite has them, whatever the locale."""
    plain = _plain(one)
    query = select(plain)
    if one is SettingRow.__table__:  # but whose state it is: that is said last
        query = query.where(plain.c.name != FOLDER)
    for key in one.primary_key:
        by: ColumnElement[Any] = plain.c[key.name]
        if isinstance(key.type, String) and connection.dialect.name == "postgresql":
            by = collate(by, "C")
        query = query.order_by(by)
    return query


def _number_behind(target: Connection, one: sqlalchemy.Table) -> None:
    """The next row that is added gets a number behind those that were copied."""
    numbered = one.autoincrement_column
    if numbered is None or target.dialect.name != "postgresql":
        return  # SQLite takes the next one by itself
    last = target.scalar(select(func.max(numbered)))
    if last is not None:
        sequence = func.pg_get_serial_sequence(one.name, numbered.name)
        target.execute(select(func.setval(sequence, last)))


def _refused(
    one: sqlalchemy.Table, rows: Sequence[dict[str, Any]], error: DataError | IntegrityError
) -> StateError:
    keys = [key.name for key in one.primary_key]
    first, last = (", ".join(str(row[key]) for key in keys) for row in (rows[0], rows[-1]))
    said = getattr(getattr(error.orig, "diag", None), "message_primary", None) or str(error.orig)
    return StateError(
        f"the database refuses a row of the table {one.name} ({', '.join(keys)} from {first} to "
        f"{last}): {' '.join(said.split())}. Nothing was changed.",
        fix="Correct or delete that row where the state is now, then try again.",
    )
