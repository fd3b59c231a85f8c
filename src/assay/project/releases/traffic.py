"""What a release was asked over time, as far as its traces tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import func, select

from assay.project.workspace import Workspace
from assay.store.tables import TraceRow, now

DAYS = 30


@dataclass(frozen=True, slots=True)
class Day:
    """One day's traces.

    Attributes:
        seconds: mean time of an answer; None where no server measured it.
        usd: mean cost of those whose cost is known; None where none is.
        up, down: thumbs.
    """

    day: date
    requests: int
    seconds: float | None
    usd: float | None
    up: int
    down: int


def traffic(workspace: Workspace, release: str, days: int = DAYS) -> list[Day]:
    """The last days, oldest first; days without a trace are there with 0."""
    first = (now() - timedelta(days=days - 1)).date()
    on = func.date(TraceRow.at)
    query = (
        select(
            on,
            func.count(),
            func.avg(TraceRow.usage["seconds"].as_float()),
            func.avg(TraceRow.usage["usd"].as_float()),
            func.count().filter(TraceRow.thumb == "up"),
            func.count().filter(TraceRow.thumb == "down"),
        )
        .where(TraceRow.project == workspace.name, TraceRow.release == release)
        .where(TraceRow.at >= now() - timedelta(days=days))
        .group_by(on)
    )
    with workspace.store.session() as session:
        found = {date.fromisoformat(str(row[0])): row for row in session.execute(query)}
    lines = []
    for offset in range(days):
        day = first + timedelta(days=offset)
        row = found.get(day)
        lines.append(Day(day, *row[1:]) if row is not None else Day(day, 0, None, None, 0, 0))
    return lines
