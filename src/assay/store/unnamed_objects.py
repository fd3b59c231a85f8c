"""Objects that no row names: so that each is either named by one row, or removed in time.

    announce(store, name)           # before it is created
    ...                             # created; then a row that names it, see `register`
    doom(session, [name])           # in the transaction that deletes that row
    remove_doomed(store, [name])    # after it

Whoever dies in between leaves a row here, and `collect` removes the object. What nothing here tells
of is left alone, so a copy of a database never removes files of the original.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, event, select, update
from sqlalchemy.orm import Mapper, Session

from assay.errors import ObjectsError, StoreError
from assay.store.object_place import objects_of
from assay.store.store import Store
from assay.store.tables import Table, UnnamedObjectRow
from assay.store.tables.clock import database_time

log = logging.getLogger("assay.store")

CREATION = timedelta(hours=24)
"""A creation that is not over by then is taken for one whose process has died."""
_BATCH, _REMOVED = 500, 20
_LOCK = "objects.remove.lock"
"""Held while objects are removed, so that nobody creates one of a name that is being removed."""
_Row = UnnamedObjectRow


def register(table: type[Table], name_of: Callable[[Any], str]) -> None:
    """Let a new row of a table name an object that was announced (`take`)."""

    def inserted(_mapper: Mapper[Any], connection: Connection, row: Any) -> None:
        take(connection, name_of(row))

    event.listen(table, "before_insert", inserted)


def announce(store: Store, name: str) -> None:
    """Say that an object will be created, of a name that nobody had or will have."""
    with store.session() as session:
        session.add(_Row(name=name, doomed=False, since=database_time()))


def announce_again(store: Store, name: str) -> None:
    """The same of a name whose creation may have been begun before: what is left of it goes."""
    with store.lock(_LOCK):
        with store.session() as session:
            is_left = session.get(_Row, name) is not None
        if is_left:
            objects_of(store).remove([name])
        with store.session() as session:
            session.execute(delete(_Row).where(_Row.name == name))
            session.add(_Row(name=name, doomed=False, since=database_time()))


def take(connection: Connection | Session, name: str) -> None:
    """An announced object is named from this transaction on.

    Raises:
        ObjectsError: it was taken for one that nobody will name.
    """
    # Against `collect`: whoever changes the row first decides.
    query = delete(_Row).where(_Row.name == name, _Row.doomed.is_(False)).returning(_Row.name)
    if connection.execute(query).first() is None:
        raise ObjectsError(f"{name} was not written in time.", fix="Try again.")


def forget(session: Session, name: str) -> None:
    """Take back that an object was announced: a row names it already."""
    session.execute(delete(_Row).where(_Row.name == name, _Row.doomed.is_(False)))


def doom(session: Session, names: Sequence[str]) -> None:
    """Say, in a transaction, that objects are to be removed."""
    for start in range(0, len(names), _BATCH):
        part = names[start : start + _BATCH]
        session.execute(delete(_Row).where(_Row.name.in_(part)))
        session.add_all(_Row(name=name, doomed=True, since=database_time()) for name in part)


def discard(store: Store, name: str) -> None:
    """Remove an object that was created and will not be named.

    One that is named stays: where a database went away at the end of a transaction, nobody knows
    whether its row was kept.
    """
    with store.session() as session:
        session.execute(
            update(_Row).where(_Row.name == name, _Row.doomed.is_(False)).values(doomed=True)
        )
    remove_doomed(store, [name])


def remove_doomed(store: Store, names: Sequence[str]) -> None:
    """Remove objects that are to be removed; those that cannot be now are removed later."""
    for start in range(0, len(names), _BATCH):
        _remove(store, select(_Row.name).where(_Row.name.in_(names[start : start + _BATCH])))


def collect(store: Store) -> None:
    """Remove the objects that are to be removed, and those whose creation has died."""
    with store.session() as session:
        late = _Row.doomed.is_(False), _Row.since < database_time(-CREATION)
        session.execute(update(_Row).where(*late).values(doomed=True))
    _remove(store, select(_Row.name))


def _remove(store: Store, query: Select[Any]) -> None:
    query = query.where(_Row.doomed.is_(True))
    with store.session() as session:
        if session.scalar(query.limit(1)) is None:
            return
    try:
        objects = objects_of(store)
        part = [""]
        while part:
            with store.lock(_LOCK):  # not for all: a request that deletes a file waits for it
                with store.session() as session:
                    part = list(session.scalars(query.limit(_REMOVED)))
                objects.remove(part)
                with store.session() as session:
                    session.execute(delete(_Row).where(_Row.name.in_(part)))
    except (StoreError, OSError) as error:
        log.warning("deleted files could not be removed yet: %s", error)
