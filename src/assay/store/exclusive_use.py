"""That nobody else uses a folder's state: no server, no worker, no other command, on any machine.

    with exclusive_connection(store) as connection: ...

SQLite knows who else has its file open: its log cannot be closed before they have gone. On
PostgreSQL every connection of Assay to a schema shares an advisory lock, which ends with it, and
here it is taken alone. So nothing has to be written down, and whoever is killed leaves nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from sqlalchemy import Connection, func, select

from assay.errors import StateError
from assay.store.store import IN_USE, Store, lift_limits, lock_key, unusable

_TRIES, _PAUSE_S = 10, 0.2
"""For the end of a command that another one has just been."""


@contextmanager
def exclusive_connection(store: Store) -> Iterator[Connection]:
    """The only connection that anybody has to a state, in a transaction, until the block ends.

    Who connects meanwhile is refused. What is changed is kept only where the block commits; the
    first statement of the transaction sees all that others have committed.

    Raises:
        StateError: somebody uses it.
        StoreError: the database is out of reach.
    """
    store.engine.dispose()
    with store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        connection.detach()  # closed at the end of the block instead of kept
        if isinstance(driver, sqlite3.Connection):
            _wait(store, partial(_has_file, store, driver))
        else:
            key = lock_key(store.schema, IN_USE)
            query = select(func.pg_try_advisory_lock(key))
            _wait(store, lambda: bool(connection.scalar(query)))
            connection.commit()
            # One view of all tables, also against somebody who changes rows by hand.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            lift_limits(connection)
        yield connection


def _wait(store: Store, take: Callable[[], bool]) -> None:
    for _ in range(_TRIES):
        if take():
            return
        time.sleep(_PAUSE_S)
    raise StateError(
        "a server, a worker or another command uses this state.",
        where=store.address,
        fix="Stop all of them, on every machine, then try again.",
    )


def _has_file(store: Store, driver: sqlite3.Connection) -> bool:
    try:
        driver.execute("PRAGMA locking_mode=EXCLUSIVE")  # kept from the next statement on
        driver.execute("PRAGMA journal_mode=DELETE")
        driver.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise unusable(store.engine.url, error) from None
        return False
    return True
