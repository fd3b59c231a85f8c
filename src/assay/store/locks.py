"""Locks of a state that are not waited for, and what of it is in use.

with lock_at_once(store, "creation.lock", within=1.0): ...    # or LockHeldError
with in_use(store, "holdout 5e1f"): ...                       # and meanwhile, on any machine:
is_in_use(store, "holdout 5e1f")
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from sqlalchemy import func, select

from assay.errors import StoreError
from assay.store.store import Store, lift_limits, lock_key

_PAUSE_S = 0.05


class LockHeldError(Exception):
    """Somebody else has a lock that is not waited for."""


@contextmanager
def lock_at_once(store: Store, name: str, *, within: float = 0.0) -> Iterator[None]:
    """Hold a lock (`Store.lock`) that can be had now, or within so many seconds.

    Raises:
        LockHeldError: somebody else has it.
        StoreError: as `Store.lock`.
    """
    until = time.monotonic() + within
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(store.lock(name, _refuse))
                break
            except LockHeldError:
                if time.monotonic() >= until:
                    raise
            time.sleep(_PAUSE_S)
        yield


def _refuse() -> None:
    raise LockHeldError


@contextmanager
def in_use(store: Store, name: str) -> Iterator[None]:
    """Let other machines know until the block ends that something is in use; it keeps nobody out.

    It ends with the process, however that ends. On SQLite all are on one machine, where locks of
    files say it; nothing is done. Where the database is away for a moment, it ends too, without an
    error.
    """
    if store.engine.dialect.name == "sqlite":
        yield
        return
    with ExitStack() as held:
        connection = held.enter_context(store.engine.begin())
        lift_limits(connection)
        key = lock_key(store.schema, name)
        connection.execute(select(func.pg_advisory_xact_lock_shared(key)))
        try:
            yield
        finally:
            with suppress(StoreError):
                held.close()


def is_in_use(store: Store, name: str) -> bool:
    """Whether somebody is within `in_use`, in a process of any machine; on SQLite, no."""
    if store.engine.dialect.name == "sqlite":
        return False
    with store.engine.begin() as connection:
        key = lock_key(store.schema, name)
        return not connection.scalar(select(func.pg_try_advisory_xact_lock(key)))
