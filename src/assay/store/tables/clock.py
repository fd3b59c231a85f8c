"""The database's own clock, for what several machines compare; theirs may differ.

values(beat=database_time())
where(JobRow.beat < database_time(-30.0))
"""

from __future__ import annotations

from datetime import datetime
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


def database_time(seconds: float = 0.0) -> FunctionElement[datetime]:
    """When the statement runs, or so many seconds later, to a millisecond or better."""
    return _DatabaseTime(literal(seconds, Float))


@compiles(_DatabaseTime, "postgresql")
def _postgresql(element: _DatabaseTime, compiler: SQLCompiler, **given: Any) -> str:
    seconds = compiler.process(element.clauses, **given)
    # Not `now()`, which is when the transaction began.
    return f"(clock_timestamp() + make_interval(secs => {seconds}))"


@compiles(_DatabaseTime, "sqlite")
def _sqlite(element: _DatabaseTime, compiler: SQLCompiler, **given: Any) -> str:
    seconds = compiler.process(element.clauses, **given)
    # As SQLAlchemy writes a time: six digits, so that texts are in the order of times.
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds') || '000')"
