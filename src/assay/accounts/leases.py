"""Parts of a budget that processes hold, as the database knows them: one transaction a function.

A process leases a part of what a key may spend and spends it without asking again. `reserved` of a
budget is the sum of its leases, so what is spent and what is leased together never exceed it. A
lease's `risk` is what may be under way, or spent and not in the usage log; its process keeps to
it. When the process is gone (the lease expires) the risk counts as spent and the rest comes back.
That is right even if the process was only asleep: all that it may still spend is within the risk.
Leases expire by the database's clock: those of the machines that share it may differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Update, bindparam, delete, insert, select, update

from assay.store.store import Store
from assay.store.tables import BudgetLeaseRow, BudgetRow
from assay.store.tables.clock import database_time

SHARE = 20
"""A process holds a twentieth of what is left at a time, or what one request takes."""
LASTS = timedelta(seconds=60)
"""Without a sign of its process."""
SPARE = 2
"""Twice what is under way may be before the risk must be raised again."""

# Changes nothing, but whoever runs it is alone with the budget until their transaction ends; on
# SQLite a reading statement in its place could not be followed by a writing one.
_LOCK = (
    update(BudgetRow)
    .where(BudgetRow.key == bindparam("of"))
    .values(spent=BudgetRow.spent)
    .returning(BudgetRow.most, BudgetRow.spent, BudgetRow.reserved)
)
_MOVE = (
    update(BudgetRow)
    .where(BudgetRow.key == bindparam("of"))
    .values(
        spent=BudgetRow.spent + bindparam("cost"),
        reserved=BudgetRow.reserved + bindparam("leased"),
    )
)
_FIND = select(BudgetLeaseRow.amount, BudgetLeaseRow.risk).where(
    BudgetLeaseRow.id == bindparam("one")
)
_TAKE = (
    update(BudgetLeaseRow)
    .where(BudgetLeaseRow.id == bindparam("one"))
    .values(amount=BudgetLeaseRow.amount - bindparam("covered"))
)
_DROP = delete(BudgetLeaseRow).where(BudgetLeaseRow.id == bindparam("one"))


class LostError(Exception):
    """A lease has expired, and others have what was in it."""


@dataclass(frozen=True, slots=True)
class LeaseGrowth:
    """What a lease has come to: more by `more`, and its risk."""

    more: int
    risk: int


@dataclass(frozen=True, slots=True)
class FreeBudget:
    """What is left of a lease's budget for others, in billionths of a USD; below 0 where it was
    made smaller."""

    lease: str
    usd: int


def grow(store: Store, key: str, lease: str, need: int, *, known: bool) -> LeaseGrowth | None:
    """Let a lease hold at least `need`, and risk as much; None: the budget does not allow it.

    Args:
        known: it has been made before.

    Raises:
        LostError: it has expired.
    """
    with _locked(store, key) as (connection, free):
        free += _reclaim(connection, key, but=lease)
        held = connection.execute(_FIND, {"one": lease}).one_or_none()
        if held is None and known:
            raise LostError
        amount, risk = held or (0, 0)
        lacks = max(0, need - amount)
        if lacks > free:
            return None
        more = min(free, max(lacks, free // SHARE)) if lacks else 0
        amount += more
        risk = min(amount, max(risk, SPARE * need))
        if held is None:
            made = {"id": lease, "key": key, "amount": amount, "risk": risk}
            connection.execute(insert(BudgetLeaseRow).values(**made, expires=database_time(LASTS)))
        else:
            connection.execute(_write(lease, amount, risk))
        connection.execute(_MOVE, {"of": key, "cost": 0, "leased": more})
    return LeaseGrowth(more, risk)


def settle(connection: Connection, key: str, lease: str, covered: int, cost: int) -> int:
    """Count `cost` as spent, `covered` of it out of a lease; returns what is left for others.

    Raises:
        LostError: the lease has expired; what it covered counts as spent already.
    """
    row = connection.execute(_LOCK, {"of": key}).one()
    free = int(row.most - row.spent - row.reserved)
    held = connection.execute(_FIND, {"one": lease}).one_or_none()
    if held is None:
        connection.execute(_MOVE, {"of": key, "cost": cost - covered, "leased": 0})
        raise LostError
    connection.execute(_TAKE, {"one": lease, "covered": covered})
    connection.execute(_MOVE, {"of": key, "cost": cost, "leased": -covered})
    return free + covered - cost


def keep(store: Store, key: str, lease: str, amount: int, risk: int) -> None:
    """Hold so much from now on, not more than before; a lease of nothing ends.

    Raises:
        LostError: it has expired.
    """
    with _locked(store, key) as (connection, _):
        held = connection.execute(_FIND, {"one": lease}).one_or_none()
        if held is None:
            raise LostError
        if amount:
            connection.execute(_write(lease, amount, risk))
        else:
            connection.execute(_DROP, {"one": lease})
        connection.execute(_MOVE, {"of": key, "cost": 0, "leased": amount - held.amount})


def free(store: Store, leases: Collection[str]) -> list[FreeBudget]:
    """Of those leases that have not been lost."""
    query = (
        select(BudgetLeaseRow.id, BudgetRow.most - BudgetRow.spent - BudgetRow.reserved)
        .join(BudgetRow, BudgetRow.key == BudgetLeaseRow.key)
        .where(BudgetLeaseRow.id.in_(leases))
    )
    with store.engine.connect() as connection:
        return [FreeBudget(id, usd) for id, usd in connection.execute(query)]


def unspent(store: Store, key: str) -> int:
    """What is left of a budget, with all that is set aside, in billionths of a USD."""
    query = select(BudgetRow.most - BudgetRow.spent).where(BudgetRow.key == key)
    with store.engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def reclaim(store: Store) -> None:
    """Take back what processes held that are gone."""
    query = select(BudgetLeaseRow.key).where(BudgetLeaseRow.expires < database_time()).distinct()
    with store.engine.connect() as connection:
        keys = connection.scalars(query.order_by(BudgetLeaseRow.key)).all()
    for key in keys:
        with _locked(store, key) as (connection, _):
            _reclaim(connection, key)


@contextmanager
def _locked(store: Store, key: str) -> Iterator[tuple[Connection, int]]:
    """A transaction that is alone with a budget, and what of it nobody holds."""
    with store.engine.begin() as connection:
        row = connection.execute(_LOCK, {"of": key}).one()
        yield connection, int(row.most - row.spent - row.reserved)


def _write(lease: str, amount: int, risk: int) -> Update:
    """What a lease holds from now on, which is a sign of its process, too."""
    values = {"amount": amount, "risk": risk, "expires": database_time(LASTS)}
    return update(BudgetLeaseRow).where(BudgetLeaseRow.id == lease).values(values)


def _reclaim(connection: Connection, key: str, but: str = "") -> int:
    """Returns what came back to the budget."""
    query = (
        delete(BudgetLeaseRow)
        .where(
            BudgetLeaseRow.key == key,
            BudgetLeaseRow.expires < database_time(),
            BudgetLeaseRow.id != but,
        )
        .returning(BudgetLeaseRow.amount, BudgetLeaseRow.risk)
    )
    back = 0
    for amount, risk in connection.execute(query).all():
        lost = min(amount, risk)
        connection.execute(_MOVE, {"of": key, "cost": lost, "leased": -amount})
        back += amount - lost
    return back
