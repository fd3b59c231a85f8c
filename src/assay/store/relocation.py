"""A folder's state moves to another database: from SQLite to PostgreSQL, back, or elsewhere.

    moved = relocate(folder, Database("postgresql://assay@db/assay"), "assay_support", progress)

`database.json` says where the state is, and one write of it is the move; a process that dies before
leaves the state where it was, and one that dies after leaves it where it should be. Before, all
rows are copied in one transaction and compared; after it, the old place is marked, so that it is
not taken for the state. The same call goes on with what is left of that.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, insert, select, text, update

from assay.errors import StateError
from assay.progress import Progress
from assay.store.database import (
    FOLDER,
    LOCK,
    MOVED,
    Database,
    FolderRecord,
    address_of,
    check_owner,
    copy_of,
    has_rows,
    open_database,
    password_of,
    read_record,
    stored_setting,
    write_record,
)
from assay.store.exclusive_use import exclusive_connection
from assay.store.files import name_of_left, one_at_a_time, sync_folder
from assay.store.row_transfer import TableContent, check_rows, copy_rows, empty_tables
from assay.store.store import OWNER, Store
from assay.store.tables import SettingRow

SQLITE = "assay.db"
_DRAFT = ".moving"
"""Where SQLite's file is written, below the folder; no backup contains it."""


@dataclass(frozen=True, slots=True)
class Relocation:
    """What was done.

    Attributes:
        source, target: where the state was and is, for people; the same where it had been moved
            before, and only the old place was not marked.
        tables: what was copied.
        left: what is still at the old place, and how it is deleted.
    """

    source: str
    target: str
    tables: tuple[TableContent, ...]
    left: str


def relocate(
    folder: Path, database: Database | None, schema: str | None, progress: Progress
) -> Relocation | None:
    """Let the state of a folder be in another database.

    Args:
        folder: `.assay/` of it.
        database: None: SQLite in the folder.
        schema: that is made where `database` names none; None: one named after the folder.

    Returns:
        None where it is there already, or there is none.

    Raises:
        StateError: somebody uses the state, the database has other rows, refuses some, or has no
            room; then nothing has changed.
        StoreError: a database is out of reach, or may not be used.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with one_at_a_time(folder / LOCK, _refuse_second):
        record = read_record(folder)
        if record is None:
            record = FolderRecord(secrets.token_hex(16), None)
        finished = None if record.left is None else _finish(folder, record)
        record = replace(record, left=None)
        if record.database is None and not (folder / SQLITE).exists():
            return finished
        database = _with_schema(database, record, schema)
        if database == record.database or _is_there(database, record):
            return finished
        write_record(folder, record)
        return _move(folder, record, database, progress)


def place_named(
    folder: Path, record: FolderRecord | None, database: Database | None, schema: str | None
) -> str:
    """Where the state would be that settings name, for people; see `relocate`."""
    if record is None and database is not None:  # without a random name for its schema
        return _name(folder, replace(database, schema=database.schema or schema))
    return _name(folder, database if record is None else _with_schema(database, record, schema))


def place_now(folder: Path, record: FolderRecord | None) -> str:
    """Where the state is, for people."""
    return _name(folder, None if record is None else record.database)


def current_store(folder: Path, record: FolderRecord | None) -> Store:
    """The state where it is, also where the variable with its password is not set any more: libpq
    finds one in PGPASSWORD or ~/.pgpass.

    Raises:
        StateError: it is not there.
    """
    if record is None or record.database is None:
        return Store(folder)
    database = _reachable(record.database)
    check_owner(folder, database, replace(record, database=database))
    return open_database(folder, database)


def _reachable(database: Database) -> Database:
    if database.password_env and not os.environ.get(database.password_env):
        return replace(database, password_env=None)
    return database


def _refuse_second() -> None:
    raise StateError("another process is opening or moving this state.", fix="Wait for its end.")


def _with_schema(
    database: Database | None, record: FolderRecord, schema: str | None
) -> Database | None:
    if database is None or database.schema is not None:
        return database
    before = None if record.database is None else record.database.schema
    return replace(database, schema=before or schema or f"assay_folder_{record.folder[:12]}")


def _is_there(database: Database | None, record: FolderRecord) -> bool:
    """Whether a database has the state itself, as after a restored dump or under another address.

    Raises:
        StateError: it has another folder's, or one that has left.
    """
    if database is None:
        return False
    assert database.schema is not None
    found = stored_setting(database.url, database.schema, password_of(database), FOLDER)
    if found in (None, copy_of(record.folder)):
        return False
    if found == record.folder:
        if record.database is not None:
            return True
        raise StateError(
            "this schema has the state of this folder already, and there is state in SQLite, too.",
            where=address_of(database),
            fix="If that in PostgreSQL is the right one, move the file away (mv .assay/assay.db "
            "assay.db.old); if that in SQLite is, name another schema (state.schema_name).",
        )
    assert found is not None
    why = f"the state that was here was {found}" if found.startswith(MOVED) else None
    raise StateError(
        f"{why or 'this schema has the state of another folder'}.",
        where=address_of(database),
        fix="Name another schema (state.schema_name in assay.yaml). If nobody needs what is in "
        f"this one: DROP SCHEMA {database.schema} CASCADE.",
    )


def _move(
    folder: Path, record: FolderRecord, database: Database | None, progress: Progress
) -> Relocation:
    source = current_store(folder, record)
    with exclusive_connection(source) as reading:
        if database is None:
            _check_room(folder, reading)
        with _target(folder, record, database) as target, exclusive_connection(target) as writing:
            is_left = _setting(writing) == copy_of(record.folder)
            if not is_left and has_rows(writing):
                raise StateError(
                    "there are rows, but not of a folder's state.",
                    where=target.address,
                    fix="Name an empty schema (state.schema_name in assay.yaml) or database.",
                )
            empty_tables(writing)
            tables = copy_rows(reading, writing, progress)
            check_rows(writing, tables, progress)
            _put(writing, FOLDER, copy_of(record.folder))
            owner = select(SettingRow.value).where(SettingRow.name == OWNER)
            if writing.scalar(owner) is None:  # the same name, wherever the folder is mounted
                _put(writing, OWNER, folder.resolve().parent.name)
            writing.commit()
        if database is None:
            _appear(folder, record)
        reading.execute(select(1))  # nobody else may write there: the lock ends with its connection
        moved = FolderRecord(record.folder, database, record.database or "sqlite")
        write_record(folder, moved)
        told = _mark(folder, moved, source, reading)
    if database is not None:
        opened = open_database(folder, database)
        opened.set(FOLDER, record.folder)
        opened.engine.dispose()
    write_record(folder, replace(moved, left=None))
    return Relocation(_name(folder, record.database), _name(folder, database), tuple(tables), told)


def _finish(folder: Path, record: FolderRecord) -> Relocation:
    """Mark the old place of a move whose process has died after the last step."""
    before = None if record.left == "sqlite" else record.left
    told = "Nothing is left there."
    name = _name(folder, before)
    if before is not None or (folder / SQLITE).exists():
        store = Store(folder) if before is None else open_database(folder, _reachable(before))
        with exclusive_connection(store) as connection:
            told = _mark(folder, record, store, connection)
    write_record(folder, replace(record, left=None))
    return Relocation(name, _name(folder, record.database), (), told)


def _mark(folder: Path, record: FolderRecord, store: Store, connection: Connection) -> str:
    """Let the old place be no state any more; returns what is left and how to delete it."""
    if record.left == "sqlite":
        file = folder / SQLITE
        kept = name_of_left(file)
        os.rename(file, kept)  # with its log closed, it is one file
        sync_folder(folder)
        return f"The old database is {kept}; when you do not need it any more: rm {kept}"
    said = f"{MOVED}{_name(folder, record.database)}"
    connection.commit()
    connection.execute(update(SettingRow).where(SettingRow.name == FOLDER).values(value=said))
    connection.commit()
    return (
        f"The old rows are in {_name(folder, record.left)}; when you do not need them any more: "
        f"DROP SCHEMA {store.schema} CASCADE"
    )


@contextmanager
def _target(folder: Path, record: FolderRecord, database: Database | None) -> Iterator[Store]:
    """Empty tables, or what is left of a copy that was not finished."""
    if database is not None:
        store = open_database(folder, database)
        try:
            yield store
        finally:
            store.engine.dispose()
        return
    _check_leftover(folder, record)
    shutil.rmtree(folder / _DRAFT, ignore_errors=True)
    try:
        yield Store(folder / _DRAFT)
    except BaseException:
        shutil.rmtree(folder / _DRAFT, ignore_errors=True)
        raise


def _check_leftover(folder: Path, record: FolderRecord) -> None:
    """That SQLite's file, which is not the state, may be replaced."""
    file = folder / SQLITE
    if not file.exists():
        return
    store = Store(folder)
    with exclusive_connection(store) as connection:
        if _setting(connection) == copy_of(record.folder) or not has_rows(connection):
            return
    raise StateError(
        f"there is a database in SQLite already ({SQLITE}), which is not this folder's state.",
        where=str(folder),
        fix=f"Move it away: mv {file} {file}.old",
    )


def _appear(folder: Path, record: FolderRecord) -> None:
    """Put the copy into SQLite's place; `database.json` does not name it yet."""
    draft, file = folder / _DRAFT / SQLITE, folder / SQLITE
    with draft.open("rb") as written:
        os.fsync(written.fileno())
    _check_leftover(folder, record)  # which closes its log: that would be taken for the copy's
    for log in ("-wal", "-shm", "-journal"):
        file.with_name(f"{SQLITE}{log}").unlink(missing_ok=True)
    os.replace(draft, file)
    sync_folder(folder)
    shutil.rmtree(draft.parent, ignore_errors=True)


def _check_room(folder: Path, reading: Connection) -> None:
    query = text(
        "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    )
    needed, free = int(reading.scalar(query) or 0), shutil.disk_usage(folder).free
    if needed > free:
        raise StateError(
            f"the disk has no room for the rows: about {needed} bytes, {free} are free.",
            where=str(folder),
            fix="Free some space and try again.",
        )


def _setting(connection: Connection) -> str | None:
    query = select(SettingRow.value).where(SettingRow.name == FOLDER)
    found: str | None = connection.scalar(query)
    return found


def _put(connection: Connection, name: str, value: str) -> None:
    connection.execute(insert(SettingRow).values(name=name, value=value))


def _name(folder: Path, database: Database | None) -> str:
    return str(folder.resolve() / SQLITE) if database is None else address_of(database)
