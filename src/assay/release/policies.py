"""Which releases keep traces of their requests, how long, how many: none, unless switched on."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from assay.errors import UsageError
from assay.quantities import say_count
from assay.release.releases import current
from assay.store.audit import record
from assay.store.locks import lock_until_end
from assay.store.store import Store
from assay.store.tables import TracePolicyRow, TraceRow

SAMPLE, DAYS, MOST = 0.1, 30, 10_000
MOST_DAYS, MOST_KEPT = 3650, 10_000_000


@dataclass(frozen=True, slots=True)
class Policy:
    """How a release keeps traces.

    Attributes:
        active: requests are kept; when not, those that were are kept as long as was said.
        sample: share of requests, 0 to 1, that are drawn at random to be labelled for `watch`.
        days: after so many a trace is deleted.
        most: traces that are kept at most; the oldest go first.
        seed: of the drawing; secret, so that no caller can choose to be in the sample.
    """

    active: bool
    sample: float
    days: int
    most: int
    seed: str


def policy(store: Store, project: str, release: str) -> Policy | None:
    """How a release keeps traces; None: it never has."""
    with store.session() as session:
        row = session.get(TracePolicyRow, (project, release))
        return None if row is None else _policy(row)


def switch_on(
    store: Store,
    project: str,
    release: str,
    *,
    who: str,
    sample: float = SAMPLE,
    days: int = DAYS,
    most: int = MOST,
) -> Policy:
    """Keep traces of a release from now on, or keep them in another way.

    Raises:
        ReleaseError: there is no such release.
        UsageError: a number is out of range.
    """
    current(store, project, release)
    if not 0 <= sample <= 1:
        raise UsageError(
            f"{sample:g} is not a share of requests.", fix="Give a number from 0 to 1."
        )
    if not (1 <= days <= MOST_DAYS and 1 <= most <= MOST_KEPT):
        raise UsageError(
            f"traces cannot be kept with a limit of {say_count(days, 'day')} and "
            f"{say_count(most, 'trace')}.",
            fix=f"Give 1 to {MOST_DAYS} days and 1 to {MOST_KEPT} traces.",
        )
    with store.session() as session:
        row = session.get(TracePolicyRow, (project, release))
        if row is None:
            row = TracePolicyRow(project=project, release=release, seed=secrets.token_hex(16))
            session.add(row)
        row.active, row.sample, row.days, row.most = True, sample, days, most
        limits: dict[str, Any] = {"sample": sample, "days": days, "most": most}
        record(session, project, who, "traces.on", release, limits)
        return _policy(row)


def switch_off(
    store: Store, project: str, release: str, *, who: str, delete_kept: bool = False
) -> int:
    """Keep no more traces of a release; returns how many that were kept are deleted at once.

    Raises:
        ReleaseError: there is no such release.
    """
    current(store, project, release)
    gone = 0
    with store.session() as session:
        lock_traces(store, session, project)
        row = session.get(TracePolicyRow, (project, release))
        if row is not None:
            row.active = False
        if delete_kept:
            mine = (TraceRow.project == project) & (TraceRow.release == release)
            gone = len(session.scalars(delete(TraceRow).where(mine).returning(TraceRow.key)).all())
        record(session, project, who, "traces.off", release, {"deleted": gone})
    return gone


def lock_traces(store: Store, session: Session, project: str) -> None:
    """Keep out, until a transaction ends, others that change or delete traces of a project: who
    corrects one changes all of its file. To be called before anything else is done in it."""
    lock_until_end(store, session, f"traces {project}")


def policies(store: Store, project: str) -> dict[str, Policy]:
    """The releases of a project that keep traces, or have kept some."""
    with store.session() as session:
        rows = session.scalars(
            select(TracePolicyRow).where(TracePolicyRow.project == project)
        ).all()
        return {row.release: _policy(row) for row in rows}


def _policy(row: TracePolicyRow) -> Policy:
    return Policy(row.active, row.sample, row.days, row.most, row.seed)
