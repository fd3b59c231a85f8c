"""States of knowledge bases that are kept for a comparison, whatever is changed meanwhile.

    pins.pin(store, base, build, documents, "5f…")    # a state, from now on
    FixedBase(store, owner, name, "5f…")              # reads it
    pins.unpin(store, "5f…")                          # the comparison is over

A build never changes, so a pinned one is a second row of it with the same table: no vector is
copied. It is found by its pin alone, so nobody else finds in it what was removed or hidden since.
While it is there, neither a removal nor a rebuild takes its table or the texts of its documents.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Literal

from filelock import FileLock, Timeout
from sqlalchemy import ColumnElement, false, or_, select, update

from assay.errors import AssayError, NotFoundError, StateError
from assay.knowledge import records, retention
from assay.knowledge.build_archives import path_of
from assay.knowledge.lock import lock_of
from assay.knowledge.records import COPY, PINNED, Build, Document
from assay.knowledge.shared_builds import tables_at, texts_at
from assay.knowledge.table import base_folder
from assay.store import archives, unnamed_objects
from assay.store.archives import Archive
from assay.store.erasure import overwrite, scrub
from assay.store.locks import LockHeldError, lock_at_once
from assay.store.store import Store
from assay.store.tables import KnowledgeBaseRow, KnowledgeBuildRow
from assay.store.tables.clock import database_time

Role = Literal["", "-", "+"]
"""What a pinned state is to its comparison: the one that it searches; the one that it was requested
on, to which files of the project are added yet; one that a saved agent was measured on."""
_ROLES: tuple[Role, ...] = ("", "-", "+")
_FOLDER = "pins"
"""In the state: a lock for each pin of a process, which ends with it."""
_PROCESS = "process"
"""Begins such a pin."""
_REFRESH_S = 600.0
_SILENCE = timedelta(days=1)
"""A process that has not refreshed its pin for so long is taken for dead, wherever it was."""
_Row = KnowledgeBuildRow


def pin(
    store: Store,
    base: str,
    build: Build,
    documents: Sequence[Document],
    name: str,
    role: Role = "",
    archive: Archive | None = None,
) -> None:
    """Keep a state. With `role` "" or "-" it takes the place of the one that the pin had.

    Args:
        documents: of the build.
        archive: of the build, where it is new in the bucket.
    """
    replaced: tuple[Role, ...] = () if role == "+" else ("", "-")
    stored = _stored(build, name, role)
    with store.session() as session:
        overwrite(session)
        mine = select(_Row.key).where(_Row.base == base)
        if session.scalar(mine.where(_Row.snapshot == stored)) is not None:
            return
        before = session.scalars(mine.where(_of(name, *replaced))).all()
        if archive is not None:
            archives.name(session, path_of(base, stored), archive)
        records.add_build(session, base, build, stored, documents)
        records.forget_builds(session, before)  # last: the new row may take over their archive


def keep(store: Store, base: str, name: str, snapshot: str | None = None) -> None:
    """Keep the present state (role "-"), unless the pin has one, or an earlier one (role "+").

    It is one transaction, so that nobody waits for a build that is being made. A state that is
    given up, and a knowledge base that is removed, have nothing to be kept.
    """
    role: Role = "-" if snapshot is None else "+"
    if snapshot is not None and PINNED in snapshot:  # another comparison's
        return
    mine = select(_Row).where(_Row.base == base)
    with store.session() as session:
        found = session.get(KnowledgeBaseRow, base, with_for_update=True)  # as `records.swap`
        if found is None:
            return
        wanted = _Row.key == found.build if snapshot is None else _Row.snapshot == snapshot
        row = session.scalar(mine.where(wanted))
        if row is None and snapshot not in (None, records.EMPTY):
            return
        build = records.NOTHING if row is None else records.as_build(row)
        stored = _stored(build, name, role)
        there = _of(name, "", "-") if snapshot is None else _Row.snapshot == stored
        if session.scalar(mine.where(there).limit(1)) is None:
            documents = [] if row is None else records.documents_in(session, row.key)
            records.add_build(session, base, build, stored, documents)


def pinned(store: Store, base: str, name: str) -> Build | None:
    """The state that a pin's comparison searches, or that it was requested on; None: there is
    none."""
    return _first(store, base, _of(name, "")) or _first(store, base, _of(name, "-"))


def pinned_as(store: Store, base: str, name: str, snapshot: str) -> Build:
    """A state of a pin by its snapshot; where the pin has none that is called so, the base's.

    Raises:
        NotFoundError: it was not kept.
    """
    stored = [f"{snapshot}{PINNED}{name}{role}" for role in ("", "+", "-")]
    found = _first(store, base, _Row.snapshot.in_(stored))
    return found or records.build_of(store, base, snapshot)


def is_whole(build: Build) -> bool:
    """Whether the files of the project are in a pinned state."""
    return not build.snapshot.endswith("-")


def snapshot_of(build: Build) -> str:
    """The snapshot of a state, pinned or not."""
    return build.snapshot.partition(PINNED)[0]


def holds(store: Store, owner: str, name: str, documents: Collection[Document]) -> bool:
    """Whether a pinned state of a knowledge base or of a copy has one of these documents, perhaps
    with another content or by another name."""
    known = {one for d in documents for one in (d.path, d.location, d.sha256)}
    return any(
        not known.isdisjoint((document.path, document.location, document.sha256))
        for base in records.with_copies(store, owner, name)
        for build in records.builds_of(store, base)
        if PINNED in build.snapshot
        for document in records.documents_of(store, build)
    )


def refuse(store: Store, owner: str, name: str) -> None:
    """Refuse to erase a knowledge base that is searched, or of which a copy is.

    Raises:
        StateError: a comparison that is not over does so.
    """
    if any(names(store, base=base) for base in records.with_copies(store, owner, name)):
        raise StateError(
            f"a comparison that is not over searches {name.partition(COPY)[0]}.",
            fix="Cancel the comparison, or wait until it has ended.",
        )


def names(store: Store, *, base: str | None = None, older: timedelta | None = None) -> set[str]:
    """All pins: of a knowledge base, and none that is younger."""
    query = select(_Row.snapshot).where(_Row.snapshot.contains(PINNED))
    if base is not None:
        query = query.where(_Row.base == base)
    if older is not None:
        query = query.where(_Row.created < database_time(-older))
    with store.session() as session:
        return {one.partition(PINNED)[2].rstrip("-+") for one in session.scalars(query)}


def of_jobs(store: Store, older: timedelta | None = None) -> set[str]:
    """Pins of jobs that are no younger; None: all."""
    return {one for one in names(store, older=older) if not one.startswith(_PROCESS)}


def unpin(store: Store, name: str) -> bool:
    """Let go the states of a pin; what nothing else needs of them is erased.

    Files first: killed in between, the same call erases what is left.

    Returns:
        Whether it is done: knowledge bases that are being changed are left to a later call.
    """
    query = (
        select(KnowledgeBaseRow.owner, KnowledgeBaseRow.name)
        .join(_Row, _Row.base == KnowledgeBaseRow.id)
        .where(_of(name, *_ROLES))
    )
    with store.session() as session:
        pinned = {(owner, name.partition(COPY)[0]) for owner, name in session.execute(query)}
    # A build that was killed before it was pinned has no row: its table may be of any copy.
    bases = [base for one in pinned for base in records.with_copies(store, *one)]
    is_done = True
    for base in bases:
        try:
            with lock_at_once(store, lock_of(base)):
                _unpin(store, base, name)
        except LockHeldError:
            is_done = False
        except NotFoundError:
            pass
    if bases:
        scrub(store)
        if store.bucket is not None:
            unnamed_objects.collect(store)
    return is_done


@contextmanager
def of_process(store: Store) -> Iterator[str]:
    """A new pin until the block ends. One whose process was killed is let go by `unpin_left`."""
    name = f"{_PROCESS}{secrets.token_hex(8)}"
    lock = store.folder / _FOLDER / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock), _refreshed(store, name):
        try:
            yield name
        finally:
            with suppress(AssayError):  # where the database is away, `unpin_left` does it later
                if unpin(store, name):
                    lock.unlink(missing_ok=True)


def unpin_left(store: Store) -> None:
    """Let go the pins of processes that are no more: of this machine at once, of one that may never
    come back when they have been silent for long."""
    for name in names(store, older=_SILENCE):
        if name.startswith(_PROCESS):
            unpin(store, name)
    for lock in (store.folder / _FOLDER).glob(f"{_PROCESS}*"):
        with suppress(Timeout, FileNotFoundError), FileLock(lock).acquire(timeout=0):
            if unpin(store, lock.name):
                lock.unlink(missing_ok=True)


@contextmanager
def _refreshed(store: Store, name: str) -> Iterator[None]:
    """Refresh a pin until the block ends."""
    ended = Event()

    def work() -> None:
        while not ended.wait(_REFRESH_S):
            with suppress(AssayError):  # the database is away: the next one may come through
                refresh(store, name)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def refresh(store: Store, name: str) -> None:
    """Let the states of a pin be young."""
    mine = update(_Row).where(_of(name, *_ROLES))
    with store.session() as session:
        session.execute(mine.values(created=database_time()))


def _unpin(store: Store, base: str, name: str) -> None:
    """Of one knowledge base; the caller holds its lock. What killed builds left goes as well."""
    folder = base_folder(store, base)
    tables = tables_at(folder)
    for table in set(tables.names()) - retention.tables_of(store, base, besides=name):
        tables.drop(table)
    texts_at(folder).sweep(retention.contents_of(store, base, besides=name))
    with store.session() as session:
        overwrite(session)
        mine = select(_Row.key).where(_Row.base == base, _of(name, *_ROLES))
        records.forget_builds(session, session.scalars(mine).all())


def _stored(build: Build, name: str, role: Role) -> str:
    """Under which snapshot a state of a pin stands in the table."""
    return f"{snapshot_of(build)}{PINNED}{name}{role}"


def _of(name: str, *roles: Role) -> ColumnElement[bool]:
    """Whether a row is a state of a pin, in one of some roles."""
    return or_(false(), *(_Row.snapshot.endswith(f"{PINNED}{name}{role}") for role in roles))


def _first(store: Store, base: str, where: ColumnElement[bool]) -> Build | None:
    with store.session() as session:
        row = session.scalar(select(_Row).where(_Row.base == base, where).limit(1))
    return None if row is None else records.as_build(row)
