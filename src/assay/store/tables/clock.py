"""The database's own clock, for what several machines compare; theirs may differ.

values(beat=database_time())
where(JobRow.beat < database_time(-SILENCE))

It is a part of a statement that runs anyway. What is decided by a stored time is stored and
compared by this clock; times that are only shown may come from `now()`, the machine's own.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Float, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from assay.store.tables.base import UtcDateTime


class _DatabaseTime(FunctionElement[datetime]):
    name = "database_time"
    type = UtcDateTime()
    inherit_cache = True


def database_time(later: timedelta = timedelta()) -> FunctionElement[datetime]:
    """When the statement begins, or later than that, to a millisecond or better.

    Wherever it stands in a statement, it is the same moment.
    """
    return _DatabaseTime(literal(later.total_seconds(), Float))


@compiles(_DatabaseTime, "postgresql")
def _postgresql(element: _DatabaseTime, compiler: SQLCompiler, **given: Any) -> str:
    seconds = compiler.process(element.clauses, **given)
    # Not `now()`, which is when the transaction began, and may have waited for a lock since; nor
    # `clock_timestamp()`, which is another one in each row and keeps an index from being used.
    return f"(statement_timestamp() + make_interval(secs => {seconds}))"


@compiles(_DatabaseTime, "sqlite")
def _sqlite(element: _DatabaseTime, compiler: SQLCompiler, **given: Any) -> str:
    seconds = compiler.process(element.clauses, **given)
    # As SQLAlchemy writes a time: six digits, so that texts are in the order of times.
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds') || '000')"
