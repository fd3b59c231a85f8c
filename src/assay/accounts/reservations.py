"""What requests under way may cost, set aside out of leases that this process holds.

    held = reservations.take(key, amount) or reservations.lease(key, amount)
    spent = reservations.end(held, cost)
    ...: reservations.settle(connection, spent)     # in the transaction that writes the usage log

`take` and `end` ask nothing of the database. All amounts are billionths of a USD.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from sqlalchemy import Connection

from assay.accounts import leases
from assay.accounts.leases import LASTS, SHARE, SPARE, LostError
from assay.store.store import Store

IDLE_S = 10.0
"""A lease that nobody takes from goes back after so long."""
_RENEW_S = LASTS.total_seconds() / 3
log = logging.getLogger("assay.spending")


@dataclass(slots=True, eq=False)
class Lease:
    """One that this process holds.

    Attributes:
        amount, risk: as in the database, where they may be larger for a moment, never smaller.
        under_way: the most that requests under way can cost, and what others have cost that is not
            in the log yet; never more than `risk`.
        used, renewed: when it was taken from, and when the database last heard of it, in seconds of
            a clock that nobody sets.
        peak: the most of that since `Reservations.look` has looked.
        need: of the last request.
    """

    key: str
    id: str
    used: float
    renewed: float
    amount: int = 0
    risk: int = 0
    under_way: int = 0
    peak: int = 0
    need: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for a request."""

    lease: Lease
    amount: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a request has cost, `covered` of it by what was set aside."""

    lease: Lease
    covered: int
    cost: int


class Reservations:
    """Of one process, for all keys."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._leases: dict[str, Lease] = {}
        self._lock = Lock()  # of what is in memory; held for moments
        self._asking = Lock()  # one transaction at a time changes leases

    def take(self, key: str, amount: int) -> Reservation | None:
        """Set money aside; None where the database must be asked for it."""
        with self._lock:
            lease = self._leases.get(key)
            if lease is None or lease.under_way + amount > min(lease.amount, lease.risk):
                return None
            lease.under_way += amount
            lease.peak = max(lease.peak, lease.under_way)
            lease.need, lease.used = amount, self._clock()
            return Reservation(lease, amount)

    def lease(self, key: str, amount: int) -> Reservation | None:
        """Set money aside that must be leased first; None: the budget does not allow it."""
        with self._asking:
            while (reserved := self.take(key, amount)) is None:
                with self._lock:
                    now = self._clock()
                    known = self._leases.get(key)
                    lease = known or Lease(key, f"lease_{secrets.token_hex(8)}", now, now)
                    need = lease.under_way + amount
                with self._abandoned(lease):
                    try:
                        id, there = lease.id, known is not None
                        grown = leases.grow(self._store, key, id, need, known=there)
                    except LostError:
                        self._drop(lease)
                        continue
                if grown is None:
                    return None
                with self._lock:
                    lease.amount += grown.more
                    lease.risk, lease.renewed = grown.risk, now
                    self._leases[key] = lease
            return reserved

    def end(self, reserved: Reservation, cost: int | None) -> Settlement:
        """A request has ended; None: nobody knows what it has cost, and it counts in full."""
        spent = reserved.amount if cost is None else cost
        covered = min(spent, reserved.amount)
        with self._lock:
            reserved.lease.under_way -= reserved.amount - covered
        return Settlement(reserved.lease, covered, spent)

    @contextmanager
    def settling(self, spent: Sequence[Settlement]) -> Iterator[Callable[[Connection], None]]:
        """What is called in the transaction that writes the usage log, which ends in the block."""
        sums: dict[str, tuple[Lease, int, int]] = {}
        for one in spent:
            _, covered, cost = sums.get(one.lease.id, (one.lease, 0, 0))
            sums[one.lease.id] = one.lease, covered + one.covered, cost + one.cost
        ordered = sorted(sums.values(), key=lambda each: (each[0].key, each[0].id))
        left: dict[str, int] = {}

        def settle(connection: Connection) -> None:
            for lease, covered, cost in ordered:  # in one order, so that nobody waits in a ring
                try:
                    left[lease.id] = leases.settle(connection, lease.key, lease.id, covered, cost)
                except LostError:
                    self._drop(lease)

        with self._asking:
            with self._abandoned(*(lease for lease, *_ in ordered)):
                yield settle
            with self._lock:
                for lease, covered, _ in ordered:
                    lease.amount -= covered
                    lease.under_way -= covered
            for lease, *_ in ordered:
                if lease.id in left:
                    self._keep(lease, left[lease.id])

    def look(self) -> None:
        """Give back what is not needed, and say that this process is there. Every second."""
        with self._asking:
            with self._lock:
                known = {lease.id: lease for lease in self._leases.values()}
            if not known:
                return
            there = {one.lease: one.usd for one in leases.free(self._store, list(known))}
            for id, lease in known.items():
                if id in there:
                    self._keep(lease, there[id], look=True)
                else:
                    self._drop(lease)

    def give_back(self) -> None:
        """All that no request under way needs: before the process ends."""
        with self._asking:
            for lease in list(self._leases.values()):
                self._keep(lease, 0, all=True)

    def _keep(self, lease: Lease, free: int, *, look: bool = False, all: bool = False) -> None:
        """Hold what is a fair share of a budget of which `free` is left to others."""
        with self._lock:
            if self._leases.get(lease.key) is not lease:
                return
            now = self._clock()
            unused = lease.amount - lease.under_way
            share = (free + unused) // SHARE
            idle = lease.under_way == 0 and now - lease.used > IDLE_S
            # Small change is not worth a transaction; what no request can use is.
            least = 0 if all or idle or share < lease.need else share
            back = unused - least if unused > 2 * least else 0
            risk = lease.risk
            if look or all:
                likely = SPARE * max(lease.peak, 0 if all else lease.need)
                if risk > 2 * likely:
                    risk = likely
                lease.peak = lease.under_way
            amount = lease.amount - back
            risk = max(lease.under_way, min(risk, amount))
            if not back and risk == lease.risk and now - lease.renewed < _RENEW_S:
                return
            lease.amount, lease.risk, lease.renewed = amount, risk, now
            if not amount:
                del self._leases[lease.key]
        with self._abandoned(lease):
            try:
                leases.keep(self._store, lease.key, lease.id, amount, risk)
            except LostError:
                self._drop(lease)

    @contextmanager
    def _abandoned(self, *held: Lease) -> Iterator[None]:
        """Where a transaction may or may not have been made, its leases are left to expire."""
        try:
            yield
        except BaseException:
            for lease in held:
                self._drop(lease)
            raise

    def _drop(self, lease: Lease) -> None:
        with self._lock:
            if self._leases.get(lease.key) is lease:
                del self._leases[lease.key]
