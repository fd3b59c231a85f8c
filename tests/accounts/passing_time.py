"""Time that passes at once: for what a process remembers, and for the leases in the database."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from assay.store.store import Store
from assay.store.tables import BudgetLeaseRow, RequestLeaseRow


class Clock:
    """The clock of `Reservations` and `RequestLimit`, in seconds. The database has its own, by
    which leases end: what has passed here is taken from what they have left."""

    def __init__(self, store: Store) -> None:
        self._store, self._now = store, 0.0

    def __call__(self) -> float:
        return self._now

    def wait(self, time: timedelta) -> None:
        self._now += time.total_seconds()
        with self._store.session() as session:
            for lease in session.scalars(select(BudgetLeaseRow)):
                lease.expires -= time
            for part in session.scalars(select(RequestLeaseRow)):
                part.expires -= time
