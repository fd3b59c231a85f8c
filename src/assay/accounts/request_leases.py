"""Parts of what a key may have at once that servers hold, as PostgreSQL knows them.

    found = hold(store, "key_1f2e", "server", most=128, need=1)   # may begin `found.held` requests
    free = keep(store, "server", {"key_1f2e": 20}, most=128)      # fewer than before; it lives

What all servers hold of a key is never more than the most that it may have, and none begins more
requests than it holds. So together they keep to the limit, however they are asked, and a request
asks nothing of the database where its server holds room for it. A server that is gone holds its
part until the lease expires, by the database's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    bindparam,
    delete,
    func,
    select,
    tuple_,
    update,
)

from assay.store.store import Store
from assay.store.tables import ApiKeyRow, RequestLeaseRow
from assay.store.tables.clock import database_time

LASTS = timedelta(seconds=10)
"""Without a sign of its server."""
SHARE = 8
"""A server takes an eighth of what nobody holds beside what it needs, so that others find some."""
_FORGOTTEN = timedelta(hours=1)
_BOUNDS = {
    # For a lock as well: another server may have stopped, or vanished, while it had one.
    "statement_timeout": "2s",
    "idle_in_transaction_session_timeout": "5s",
    # A lease that a crash of the database loses is told anew, or was as good as expired.
    "synchronous_commit": "off",
}

_WRITE = (
    update(RequestLeaseRow)
    .where(RequestLeaseRow.key == bindparam("of"), RequestLeaseRow.server == bindparam("by"))
    .values(amount=bindparam("now"), expires=database_time(LASTS))
)
_DROP = delete(RequestLeaseRow).where(
    RequestLeaseRow.key == bindparam("of"), RequestLeaseRow.server == bindparam("by")
)


@dataclass(frozen=True, slots=True)
class RequestShare:
    """What a server holds of a key, and what nobody does."""

    held: int
    free: int


def choose_share(need: int, free: int) -> int:
    """What a server takes that needs room for `need` requests, of `free` that no other holds."""
    return free if free <= need else need + (free - need) // SHARE


def choose_rest(held: int, peak: int, free: int) -> int:
    """What a server keeps that had `peak` requests at once of late, where nobody holds `free`."""
    unused = held - peak
    spare = (free + unused) // SHARE if peak else 0
    # A little more than is due is not worth a transaction.
    return peak + spare if unused > 2 * spare else held


def hold(store: Store, key: str, server: str, most: int, need: int) -> RequestShare:
    """Let a server hold room for `need` requests of a key, or as many as there are."""
    # Not above: it loads what a server beside SQLite has no use for.
    from sqlalchemy.dialects.postgresql import insert

    mine, its = RequestLeaseRow.server == server, RequestLeaseRow.key == key
    with _begin(store) as connection:
        # Whoever has locked the key's row is alone with its leases.
        alone = select(ApiKeyRow.id).where(ApiKeyRow.id == key).with_for_update(key_share=True)
        connection.execute(alone)
        connection.execute(_end(its))
        others = select(func.sum(RequestLeaseRow.amount)).where(its, ~mine)
        free = max(0, most - (connection.scalar(others) or 0))
        held = choose_share(need, free)
        made = {"key": key, "server": server, "amount": held, "expires": database_time(LASTS)}
        row = insert(RequestLeaseRow).values(made)
        again = {"amount": row.excluded.amount, "expires": row.excluded.expires}
        connection.execute(
            row.on_conflict_do_update(
                index_elements=[RequestLeaseRow.key, RequestLeaseRow.server], set_=again
            )
        )
    return RequestShare(held, free - held)


def keep(store: Store, server: str, amounts: Mapping[str, int], most: int) -> dict[str, int]:
    """Hold so much of each key from now on, not more than before; a lease of nothing ends.

    Returns:
        Of each key of which something is held still, what nobody holds. The others have expired.
    """
    ordered = sorted(amounts.items())  # two that lock the same rows do so in one order
    kept = [{"of": key, "by": server, "now": amount} for key, amount in ordered if amount]
    dropped = [{"of": key, "by": server} for key, amount in ordered if not amount]
    total = func.sum(RequestLeaseRow.amount)
    is_there = func.bool_or(RequestLeaseRow.server == server)
    named = RequestLeaseRow.key.in_([one["of"] for one in kept])
    totals = select(RequestLeaseRow.key, total).where(named).group_by(RequestLeaseRow.key)
    with _begin(store) as connection:
        if dropped:
            connection.execute(_DROP, dropped)
        if not kept:
            return {}
        connection.execute(_WRITE, kept)
        found = connection.execute(totals.having(is_there))
        return {key: max(0, most - held) for key, held in found}


def leave(store: Store, server: str) -> None:
    """Give back all that a server holds, which begins no more requests."""
    with _begin(store) as connection:
        connection.execute(delete(RequestLeaseRow).where(RequestLeaseRow.server == server))


def sweep(store: Store) -> None:
    """Remove what servers held that are long gone, of keys that nobody asks with."""
    if store.engine.dialect.name == "sqlite":  # nothing is there, ever
        return
    with _begin(store) as connection:
        connection.execute(_end(since=_FORGOTTEN))


@contextmanager
def _begin(store: Store) -> Iterator[Connection]:
    """A transaction that waits for nobody for long, and lets nobody wait."""
    with store.engine.begin() as connection:
        bounds = (func.set_config(*bound, True) for bound in _BOUNDS.items())
        connection.execute(select(*bounds))
        yield connection


def _end(*which: ColumnElement[bool], since: timedelta = timedelta()) -> Delete:
    """Remove what has expired. A lease that its server renews at this moment counts still."""
    row = tuple_(RequestLeaseRow.key, RequestLeaseRow.server)
    ended = select(RequestLeaseRow.key, RequestLeaseRow.server).where(
        *which, RequestLeaseRow.expires < database_time(-since)
    )
    return delete(RequestLeaseRow).where(row.in_(ended.with_for_update(skip_locked=True)))
