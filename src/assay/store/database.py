"""The PostgreSQL database that a folder's state is in, and that it is that folder's and no other's.

    store = open_store(folder, Database("postgresql://assay@db/assay", "assay_support"))
    store = open_again(folder)          # wherever the folder's state was last time

A folder and its schema hold the same random name: rows point at files of that folder, so rows of
one folder beside the files of another would be worth nothing. The folder has it in `database.json`,
with the database that it was last opened in; so state is never begun anew because a setting was
changed or lost.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from sqlalchemy import URL, Connection, make_url, select

from assay import json_reader
from assay.errors import StateError
from assay.store.files import one_at_a_time, write_atomic
from assay.store.store import OWNER, Store, make_engine
from assay.store.tables import SettingRow, Table

KEPT = "database.json"
LOCK = "database.lock"
"""Held while a folder changes its database."""
FOLDER = "folder"
"""The setting of a store with the random name of its folder, see `copy_of` and `MOVED`."""
MOVED = "moved to "
"""What the setting begins with where the state has left."""


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database.

    Attributes:
        url: without a password.
        schema: that holds the tables; None: the one of last time, else the folder's own.
        password_env: variable with the password, or with a URL that holds it.
    """

    url: str
    schema: str | None = None
    password_env: str | None = None


@dataclass(frozen=True, slots=True)
class FolderRecord:
    """What `database.json` says: where the state is.

    Attributes:
        database: None: SQLite in the folder.
        left: where it was before, which is not marked yet: "sqlite", or a database.
    """

    folder: str
    database: Database | None
    left: Database | Literal["sqlite"] | None = None


_RECORD = TypeAdapter(FolderRecord)


def in_variable(variable: str, value: str) -> Database:
    """The database whose URL, with its password, is the value of a variable."""
    url = make_url(value)
    # `set(password=None)` leaves it as it is.
    plain = URL.create(
        url.drivername, url.username, None, url.host, url.port, url.database, url.query
    )
    without = plain.render_as_string(hide_password=False)
    return Database(without, password_env=None if url.password is None else variable)


def open_store(folder: Path, database: Database | None, schema: str | None = None) -> Store:
    """The state of a folder, in the database that its settings name.

    Args:
        folder: `.assay/` of it.
        database: None: SQLite in the folder.
        schema: for state that is begun; None: one named after the folder's random name.

    Raises:
        StateError: the folder has state in another database, or the database that of another
            folder.
        StoreError: the database is out of reach.
    """
    if database is None:
        before = read_record(folder)
        if before is not None and before.database is not None:
            raise StateError(
                f"the state of this folder is in {address_of(before.database)}, and no setting "
                "names it any more.",
                where=str(folder),
                fix="Name it in assay.yaml (state.database) or in ASSAY_DATABASE. To move it to "
                "SQLite, stop all servers and workers and run `assay state move`. To go on "
                f"without it, in SQLite, delete {folder / KEPT}.",
            )
        store = Store(folder)
        if read_record(folder) != before:  # it was waited for: it is there that the state went
            store.engine.dispose()
            return open_store(folder, None)
        return store
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    record = read_record(folder)
    if (
        record is None
        or record.database is None
        or _same(database, record.database) != record.database
    ):
        with one_at_a_time(folder / LOCK, lambda: None):
            record = _begin(folder, database, schema)
    else:
        check_owner(folder, record.database, record)
    assert record.database is not None
    store = open_database(folder, record.database)
    # From here on, while it is open, the state cannot be moved away.
    found = store.setting(FOLDER)
    if found == copy_of(record.folder):  # whoever moved it has died after the last step
        store.set(FOLDER, record.folder)
    elif found != record.folder:
        store.engine.dispose()
        check_owner(folder, record.database, record)
    return store


def copy_of(folder: str) -> str:
    """What a database says that has a copy of a folder's state: `database.json` decides whether it
    is the state."""
    return f"copy for {folder}"


def open_again(folder: Path) -> Store:
    """The state of a folder where it was opened last.

    Raises:
        StoreError: the database is out of reach.
    """
    record = read_record(folder)
    return open_store(folder, None if record is None else record.database)


def is_elsewhere(folder: Path) -> bool:
    """Whether the state of a folder was in a PostgreSQL database when it was last opened."""
    record = read_record(folder)
    return record is not None and record.database is not None


def _same(database: Database, before: Database) -> Database:
    """With the schema of before, unless another one is named."""
    return replace(database, schema=database.schema or before.schema)


def _begin(folder: Path, database: Database, schema: str | None) -> FolderRecord:
    """Let a folder be known to a database that it has not been in, or was moved to."""
    record = read_record(folder)
    if record is None or record.database is None:
        _check_sqlite(folder, database)
    if record is None:
        record = FolderRecord(secrets.token_hex(16), None)
        write_record(folder, record)  # first: whoever dies from here on can begin again
    if record.database is not None:
        database = _same(database, record.database)
    elif database.schema is None:
        database = replace(database, schema=schema or f"assay_folder_{record.folder[:12]}")
    if record.left is not None and not _is_place(database, record.database):
        # The old place is not marked yet, so it would be taken for the state.
        raise StateError(
            "a move of this state is not finished.",
            where=str(folder),
            fix="Run `assay state move` with the settings that it was begun with.",
        )
    if check_owner(folder, database, record) is None:
        store = open_database(folder, database)
        try:
            with store.lock("folder"):
                if store.setting(FOLDER) is None:
                    # The same name, wherever the folder is mounted.
                    store.set(OWNER, folder.resolve().parent.name)
                    store.set(FOLDER, record.folder)
        finally:
            store.engine.dispose()
        check_owner(folder, database, record)  # of two folders the first has it
    record = replace(record, database=database)
    write_record(folder, record)
    return record


def _is_place(database: Database, before: Database | None) -> bool:
    """Whether they differ in no more than where the password is."""
    return before == replace(database, password_env=before.password_env if before else None)


def check_owner(folder: Path, database: Database, record: FolderRecord) -> str | None:
    """That a schema is this folder's own, whose name it has then, or nobody's (None).

    Nothing is made there: a dump of the state may still be read into it.
    """
    assert database.schema is not None
    found = stored_setting(database.url, database.schema, password_of(database), FOLDER)
    if found == copy_of(record.folder):
        found = record.folder if record.database in (None, database) else None
    if found is not None and found.startswith(MOVED):
        raise StateError(
            f"the state that was here was {found}.",
            where=address_of(database),
            fix="Name that place in assay.yaml (state.database) or in ASSAY_DATABASE. What is left "
            f"here can be deleted: DROP SCHEMA {database.schema} CASCADE.",
        )
    if found is None and record.database is not None:
        raise StateError(
            f"the state of this folder is in {address_of(record.database)}, and there is none in "
            f"{address_of(database)}.",
            where=str(folder),
            fix="To move it there, stop all servers and workers and run `assay state move`; or "
            f"name the database that has it. To begin empty, delete {folder / KEPT}.",
        )
    if found not in (None, record.folder):
        raise StateError(
            "this schema has the state of another folder.",
            where=address_of(database),
            fix="Choose another schema (state.schema_name in assay.yaml) or database. If it is the "
            f"state of this folder, copy {KEPT} out of that folder's .assay here, with its files. "
            f"If that folder is gone for good: DROP SCHEMA {database.schema} CASCADE.",
        )
    return found


def open_database(folder: Path, database: Database) -> Store:
    return Store(folder, database.url, schema=database.schema, password=password_of(database))


def password_of(database: Database) -> str | None:
    if database.password_env is None:
        return None
    given = os.environ.get(database.password_env)
    if not given:
        raise StateError(
            f"the variable {database.password_env} with the database's password is not set.",
            where=address_of(database),
            fix="Set it for the server, its workers and every command.",
        )
    if given.startswith(("postgresql://", "postgresql+psycopg://")):
        password = make_url(given).password
        return None if password is None else str(password)
    return given


def address_of(database: Database) -> str:
    schema = "" if database.schema is None else f", schema {database.schema}"
    return f"{database.url}{schema}"


def stored_setting(url: str, schema: str, password: str | None, name: str) -> str | None:
    """A setting of a schema whose tables may not be there; nothing is made.

    Raises:
        StoreError: the database is out of reach.
    """
    engine = make_engine(url, schema, password)
    try:
        with engine.connect() as connection:
            if not engine.dialect.has_table(connection, SettingRow.__tablename__):
                return None
            query = select(SettingRow.value).where(SettingRow.name == name)
            found: str | None = connection.scalar(query)
            return found
    finally:
        engine.dispose()


def _check_sqlite(folder: Path, database: Database) -> None:
    """No rows are left behind unsaid."""
    file = folder / "assay.db"
    if not file.exists():
        return
    store = Store(folder)
    try:
        with store.engine.connect() as connection:
            if not has_rows(connection):
                return
    finally:
        store.engine.dispose()
    raise StateError(
        f"this folder has state in SQLite ({file.name}), which {address_of(database)} has not.",
        where=str(folder),
        fix="To move it there, stop all servers and workers and run `assay state move`. To go on "
        "in SQLite, take the database out of the settings (state.database in assay.yaml, "
        f"ASSAY_DATABASE). To begin empty in PostgreSQL, move it away: mv {file} {file}.old",
    )


def has_rows(connection: Connection) -> bool:
    """Whether a database holds more than settings, which alone are no loss."""
    return any(
        connection.execute(select(table).limit(1)).first() is not None
        for table in Table.metadata.sorted_tables
        if table is not SettingRow.__table__
    )


def read_record(folder: Path) -> FolderRecord | None:
    file = folder / KEPT
    try:
        return _RECORD.validate_python(json_reader.read(file.read_bytes()))
    except FileNotFoundError:
        return None
    except ValueError:
        raise StateError(
            "this file does not say where the state is.",
            where=str(file),
            fix="Restore it from a copy of the folder.",
        ) from None


def write_record(folder: Path, record: FolderRecord) -> None:
    write_atomic(folder / KEPT, json.dumps(asdict(record), indent=2) + "\n", private=True)
