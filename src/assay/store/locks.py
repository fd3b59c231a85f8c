"""Locks of a state that are not waited for, and what of it is in use.

with lock_at_once(store, "build.lock", within=1.0): ...       # or LockHeldError
with lock_for_long(store, "creation.lock", lost=warn): ...    # for work that takes hours
with in_use(store, "holdout 5e1f"): ...                       # and meanwhile, on any machine:
is_in_use(store, "holdout 5e1f")
with store.session() as session:
    lock_until_end(store, session, "traces support")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from assay.errors import StoreError
from assay.store.store import Store, lift_limits, lock_key

_PAUSES_S = 0.05, 1.0
"""Between two looks at a lock: the first one, and the longest; each is twice the one before."""


class LockHeldError(Exception):
    """Somebody else has a lock that is not waited for."""


@contextmanager
def lock_at_once(store: Store, name: str, *, within: float = 0.0) -> Iterator[None]:
    """Hold a lock (`Store.lock`) that can be had now, or within so many seconds.

    Raises:
        LockHeldError: somebody else has it.
        StoreError: as `Store.lock`.
    """
    with _take(partial(store.lock, name, _refuse), time.monotonic() + within):
        yield


@contextmanager
def _take(lock: Callable[[], AbstractContextManager[None]], until: float) -> Iterator[None]:
    pause, longest = _PAUSES_S
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(lock())
                break
            except LockHeldError:
                left = until - time.monotonic()
                if left <= 0:
                    raise
            time.sleep(min(pause, left))
            pause = min(2 * pause, longest)
        yield


def _refuse() -> None:
    raise LockHeldError


@contextmanager
def lock_for_long(
    store: Store, name: str, *, within: float = 0.0, lost: Callable[[], None]
) -> Iterator[None]:
    """Hold a lock as `lock_at_once` does, for work that outlives a restart of the database.

    PostgreSQL forgets the lock then. So the folder's file is locked as well: those that share the
    folder keep each other out all the time, those with folders of their own until then.

    Args:
        lost: called at the end of the block where the lock of the database was lost meanwhile.

    Raises:
        LockHeldError: somebody else has it.
        StoreError: the database is away at the beginning, or the folder is gone.
    """
    until = time.monotonic() + within
    with ExitStack() as held, ExitStack() as of_all:
        if store.engine.dialect.name != "sqlite":  # there, the lock is this file
            held.enter_context(_take(partial(store.lock_here, name, _refuse), until))
        of_all.enter_context(_take(partial(store.lock, name, _refuse), until))
        try:
            yield
        finally:
            try:
                of_all.close()
            except StoreError:
                lost()


def lock_until_end(store: Store, session: Session, name: str) -> None:
    """Let a transaction, in which nothing was done yet, wait for others that call this with its
    name: for those that change several rows, which would otherwise wait for each other's.

    On SQLite it waits for all that write, and reads nothing that they are about to change.
    """
    if store.engine.dialect.name == "sqlite":
        session.connection().exec_driver_sql("BEGIN IMMEDIATE")
    else:
        session.execute(select(func.pg_advisory_xact_lock(lock_key(store.schema, name))))


def is_locked_here(store: Store, name: str) -> bool:
    """Whether somebody who shares this folder is within `lock_for_long`.

    It takes the lock for itself for a moment. Two that ask at once would see each other, so who
    finds it held looks once more, after the first pause.
    """
    try:
        until = time.monotonic() + _PAUSES_S[0]
        with _take(partial(store.lock_here, name, _refuse), until):
            return False
    except LockHeldError:
        return True


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
    """Whether somebody is within `in_use`, in a process of any machine; on SQLite, no.

    It takes the name for itself for a moment, so two that ask at once may see each other: ask with
    a lock held that all take who ask.
    """
    if store.engine.dialect.name == "sqlite":
        return False
    with store.engine.begin() as connection:
        key = lock_key(store.schema, name)
        return not connection.scalar(select(func.pg_try_advisory_xact_lock(key)))
