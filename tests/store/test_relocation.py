"""State moves to another database whole, or stays where it is; it is never in two places."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, make_url, select, text, update
from tests.preloaded import run_code
from tests.store.filled import ROWS, fill

from assay.errors import AssayError, StateError, StoreError
from assay.progress import SILENT, Task
from assay.store import relocation, row_transfer, secrets
from assay.store.database import FOLDER, KEPT, Database, open_again, open_store
from assay.store.exclusive_use import exclusive_connection
from assay.store.relocation import Relocation, relocate
from assay.store.store import Store
from assay.store.tables import AuditRow, FileRow, Table, TraceRow

SCHEMA = "assay_here"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASSAY_DATABASE", "PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """State in SQLite with rows in every table."""
    store = Store(tmp_path / "served" / ".assay")
    fill(store)
    store.set("owner", "served")
    store.engine.dispose()
    return store.folder


@pytest.fixture
def there(empty_postgres: str) -> Database:
    """A schema of a database that puts texts in another order than SQLite does."""
    server = make_url(empty_postgres).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        made = f"CREATE DATABASE {server.database}_en TEMPLATE template0 ENCODING 'UTF8'"
        connection.execute(text(f"{made} LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"))
    engine.dispose()
    return Database(
        empty_postgres.replace(f"/{server.database}?", f"/{server.database}_en?"), SCHEMA
    )


def move(folder: Path, database: Database | None) -> Relocation | None:
    return relocate(folder, database, None, SILENT)


def contents(store: Store) -> dict[str, list[tuple[str, ...]]]:
    """All rows of all tables that are in SQLite, as it keeps them: null in JSON is not null in SQL,
    true is 1, and a time is a text."""
    found = {}
    with store.engine.connect() as connection:
        for name in inspect(connection).get_table_names():
            rows = connection.execute(text(f'SELECT * FROM "{name}"')).all()
            found[name] = sorted(
                tuple(map(repr, row)) for row in rows if name != "settings" or row[0] != FOLDER
            )
    return found


def typed(store: Store) -> dict[str, list[str]]:
    """The same as the application reads it: equal in every database."""
    with store.engine.connect() as connection:
        return {
            one.name: sorted(
                repr(tuple(row))
                for row in connection.execute(select(one))
                if one.name != "settings" or row[0] != FOLDER
            )
            for one in Table.metadata.sorted_tables
        }


@contextmanager
def opened(folder: Path, database: Database | None) -> Iterator[Store]:
    store = open_store(folder, database)
    try:
        yield store
    finally:
        store.engine.dispose()


def _wait_for_release(folder: Path, place: Database | None) -> None:
    """PostgreSQL may notice a moment later that a process was killed which moved the state."""
    for _ in range(200):
        try:
            with opened(folder, place):
                return
        except (StateError, StoreError) as error:
            if "is being moved" not in str(error):
                return
        time.sleep(0.1)


def openable(folder: Path, *places: Database | None) -> list[Database | None]:
    """The places that a folder's state can be opened in."""
    found = []
    for place in places:
        _wait_for_release(folder, place)
        try:
            with opened(folder, place) as store:
                assert len(typed(store)["traces"]) == ROWS
        except StateError:
            continue
        found.append(place)
    return found


def test_every_table_goes_there_and_back_the_same(folder: Path, there: Database) -> None:
    with opened(folder, None) as store:
        before, read = contents(store), typed(store)
        names = set(inspect(store.engine).get_table_names()) - {"alembic_version"}
    assert all(len(before[name]) >= ROWS for name in names)
    moved = move(folder, there)
    assert moved is not None
    assert {table.name for table in moved.tables} == names
    assert openable(folder, None, there) == [there]
    with opened(folder, there) as store:
        assert typed(store) == read
        with store.session() as session:  # numbers go on behind those that came
            last = max(session.scalars(select(AuditRow.key)))
            session.add(AuditRow(project="p", who="w", action="a", what="x"))
            session.flush()
            assert max(session.scalars(select(AuditRow.key))) == last + 1
            session.rollback()
    [kept] = folder.glob("assay.db.moved-*")
    assert f"rm {kept}" in moved.left
    moved = move(folder, None)
    assert moved is not None
    assert f"DROP SCHEMA {SCHEMA} CASCADE" in moved.left
    assert openable(folder, None, there) == [None]
    with opened(folder, None) as store:
        assert contents(store) == before
    assert sorted(p.name for p in folder.iterdir() if not p.name.startswith("assay.db.moved")) == [
        "assay.db",
        KEPT,
        "database.lock",
    ]
    assert move(folder, None) is None


def test_it_goes_to_another_schema_whose_folders_elsewhere_follow(
    folder: Path, there: Database
) -> None:
    """A server on another machine has a copy of `database.json`, and the settings of all."""
    move(folder, there)
    elsewhere = folder.parent.parent / "elsewhere" / ".assay"
    elsewhere.mkdir(parents=True)
    shutil.copy(folder / KEPT, elsewhere)
    with opened(elsewhere, there) as store:
        before = typed(store)
    second = Database(there.url, "second")
    move(folder, second)
    with pytest.raises(StateError, match=r"was moved to .*second.*DROP SCHEMA assay_here CASCADE"):
        open_store(elsewhere, there)
    with pytest.raises(StateError, match="was moved to"):
        move(elsewhere, None)  # those rows are not the state any more
    with opened(elsewhere, second) as store:
        assert typed(store) == before
    with pytest.raises(StateError, match="was moved to"):
        move(folder, there)
    assert openable(folder, None, there, second) == [second]


def test_keys_of_providers_can_be_read_there(
    folder: Path, there: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(secrets.FILE_VARIABLE, str(tmp_path / "master.key"))
    monkeypatch.delenv(secrets.VARIABLE, raising=False)
    with opened(folder, None) as store, store.session() as session:
        for row in session.scalars(select(secrets.SecretRow)):
            session.delete(row)
        session.flush()
        secrets.keep(session, "p", "openai", "https://api.openai.com:443", "sk-secret")
    for place in (there, None):
        move(folder, place)
        with opened(folder, place) as store:
            found = secrets.read(store, "p", "openai", "https://api.openai.com:443")
            assert found == "sk-secret"


IDLE = """
import sys
from pathlib import Path
from assay.store.database import open_again
store = open_again(Path(sys.argv[1]))
store.setting("")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("start", ["sqlite", "postgresql"])
def test_nobody_else_may_use_it(folder: Path, there: Database, start: str) -> None:
    """A process that does nothing at this moment, such as a server without requests."""
    places: list[Database | None] = [None, there]
    if start == "postgresql":
        move(folder, there)
        places.reverse()
    command = [sys.executable, "-c", IDLE, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle:
        assert idle.stdout is not None
        assert idle.stdout.readline() == b"ready\n"
        with pytest.raises(StateError, match="another command uses this state"):
            move(folder, places[1])
        assert openable(folder, *places) == [places[0]]
        idle.kill()  # leaves nothing behind that would have to be removed
    store = open_again(folder)
    with exclusive_connection(store):
        late = subprocess.run(command, input=b"", capture_output=True, timeout=60)
        assert late.returncode == 1
        assert b"Error" in late.stderr
        assert b"is locked" in late.stderr or b"is being moved" in late.stderr
    assert move(folder, places[1]) is not None


KILLED = """
import os, signal, sys
from pathlib import Path
from assay.progress import SILENT
from assay.store import relocation
from assay.store.database import Database

folder, url, schema, step, number, when = sys.argv[1:]
done, left = getattr(relocation, step), int(number)

def dying(*given, **named):
    global left
    left -= 1
    if not left and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = done(*given, **named)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(relocation, step, dying)
relocation.relocate(Path(folder), Database(url, schema) if url else None, None, SILENT)
"""
STEPS = {
    "the target is made": ("has_rows", 1, "before"),
    "rows are copied": ("copy_rows", 1, "after"),
    "rows are compared": ("check_rows", 1, "after"),
    "its name is written": ("_put", 1, "after"),
    "it is committed": ("write_record", 2, "before"),
    "it is the state": ("write_record", 2, "after"),
    "the old place is marked": ("_mark", 1, "after"),
    "that is written down": ("write_record", 3, "after"),
}
TO_SQLITE = {
    "the file is there": ("_appear", 1, "after"),
}


@pytest.mark.parametrize("direction", ["there", "back"])
@pytest.mark.parametrize("name", [*STEPS, *TO_SQLITE])
def test_a_kill_at_any_step_leaves_one_state(
    folder: Path, there: Database, name: str, direction: str
) -> None:
    source: Database | None = None
    target: Database | None = there
    if direction == "back":
        move(folder, there)
        source, target = there, None
    elif name in TO_SQLITE:
        pytest.skip("no file appears there")
    with opened(folder, source) as store:
        before = typed(store)
    step, number, when = (STEPS | TO_SQLITE)[name]
    url, schema = ("", "") if target is None else (target.url, SCHEMA)
    output = folder.parent / "output.txt"
    given = (str(folder), url, schema, step, str(number), when)
    done = run_code(KILLED, *given, output=output)
    assert done.wait(120) == -signal.SIGKILL, output.read_text()
    is_moved = name in ("it is the state", "the old place is marked", "that is written down")
    assert openable(folder, source, target) == [target if is_moved else source]
    again = move(folder, target)
    assert again is not None or name == "that is written down"
    assert openable(folder, source, target) == [target]
    with opened(folder, target) as store:
        assert typed(store) == before
    if target is None:
        assert settings(there)[FOLDER].startswith("moved to ")
        assert not (folder / ".moving").exists()
    else:
        assert not (folder / "assay.db").exists()
        assert len(settings(there)[FOLDER]) == 32


def test_until_the_old_place_is_marked_it_is_not_opened(
    folder: Path, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(folder, there)
    other = replace(there, schema="assay_other")
    with monkeypatch.context() as patch:
        patch.setattr(relocation, "_mark", interrupt)
        with pytest.raises(KeyboardInterrupt):
            move(folder, other)
    with pytest.raises(StateError, match="a move of this state is not finished"):
        open_store(folder, there)
    assert openable(folder, there, other) == [other]
    move(folder, other)
    with pytest.raises(StateError, match="the state that was here was moved to"):
        open_store(folder, there)


def test_a_move_whose_connection_is_lost_leaves_it(
    folder: Path, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(folder, there)

    def cut(*given: Any) -> None:
        row_transfer.check_rows(*given)
        engine = create_engine(make_url(there.url).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
            connection.execute(text(ended))
        engine.dispose()

    with monkeypatch.context() as patch:
        patch.setattr(relocation, "check_rows", cut)
        with pytest.raises(StoreError):
            move(folder, None)
    assert openable(folder, None, there) == [there]
    assert move(folder, None) is not None


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def settings(database: Database) -> dict[str, str]:
    engine = create_engine(make_url(database.url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT name, value FROM {database.schema}.settings"))
        found = {row.name: row.value for row in rows}
    engine.dispose()
    return found


def test_an_interrupt_leaves_all_as_it_was(folder: Path, there: Database) -> None:
    class Interrupting:
        def advance(self, amount: float = 1, **info: object) -> None:
            if info["table"] == "traces":
                raise KeyboardInterrupt

    class Progress:
        @contextmanager
        def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
            yield Interrupting()

        def say(self, line: str) -> None: ...

    for place in (there, None):
        with pytest.raises(KeyboardInterrupt):
            relocate(folder, place, None, Progress())
        other = None if place is there else there
        assert openable(folder, there, None) == [other]
        move(folder, place)
    assert not (folder / ".moving").exists()


def run(database: Database, *statements: str) -> None:
    engine = create_engine(make_url(database.url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _with_rows(folder: Path, there: Database) -> None:
    store = Store(folder.parent / "x", there.url, schema=SCHEMA)
    with store.session() as session:
        session.add(AuditRow(project="p", who="w", action="a", what="x"))
    store.engine.dispose()


def _of_another(folder: Path, there: Database) -> None:
    open_store(folder.parent.parent / "other" / ".assay", there).engine.dispose()


def _newer(folder: Path, there: Database) -> None:
    Store(folder.parent / "x", there.url, schema=SCHEMA).engine.dispose()
    run(there, f"UPDATE {SCHEMA}.alembic_version SET version_num = '9999'")


def _without_rights(folder: Path, there: Database) -> None:
    # PostgreSQL's owner of the tests may do all: the user in the URL is another one.
    run(there, "DROP ROLE IF EXISTS nobody_here", "CREATE ROLE nobody_here LOGIN")


def _long(folder: Path, there: Database) -> None:
    with opened(folder, None) as store, store.session() as session:
        session.execute(update(FileRow).values(purpose="p" * 41))  # SQLite takes any length


def _damaged_on_the_way(folder: Path, there: Database) -> None:
    Store(folder.parent / "x", there.url, schema=SCHEMA).engine.dispose()
    run(
        there,
        f"CREATE FUNCTION {SCHEMA}.changed() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.masked := NEW.masked + 1; RETURN NEW; END $$",
        f"CREATE TRIGGER t BEFORE INSERT ON {SCHEMA}.traces "
        f"FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.changed()",
    )


WRONG: dict[str, tuple[Callable[[Path, Database], None], str]] = {
    "rows": (_with_rows, r"there are rows.*Name an empty schema"),
    "another folder": (_of_another, "the state of another folder.*Name another schema"),
    "newer": (_newer, "newer version.*Upgrade"),
    "no rights": (_without_rights, "permission denied.*create the schema for this user"),
    "a long value": (_long, r"row of the table files \(key.*too long.*Correct or delete"),
    "damage": (_damaged_on_the_way, "the table traces is not the same"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_moved_stays(folder: Path, there: Database, name: str) -> None:
    spoil, said = WRONG[name]
    spoil(folder, there)
    target = there
    if name == "no rights":
        target = Database(there.url.replace("assay@", "nobody_here@"), SCHEMA)
    with pytest.raises(AssayError, match=said) as caught:
        move(folder, target)
    assert "%s :x" not in str(caught.value)  # no value of a row
    with opened(folder, None) as store:
        assert len(typed(store)["traces"]) == ROWS
    assert not list(folder.glob("*.moved-*"))


def test_a_database_that_is_away_or_a_full_disk_leave_it(
    folder: Path, there: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="Check that the database server runs"):
        move(folder, Database(f"postgresql://assay@/x?host={tmp_path}", SCHEMA))
    assert openable(folder, None, there) == [None]
    move(folder, there)
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StateError, match=r"no room for the rows.*1000 are free.*Free some space"):
        move(folder, None)
    assert openable(folder, None, there) == [there]


def test_a_file_of_sqlite_that_is_no_copy_is_not_replaced(folder: Path, there: Database) -> None:
    move(folder, there)
    (kept,) = folder.glob("assay.db.moved-*")
    shutil.copy(kept, folder / "assay.db")
    with pytest.raises(StateError, match=r"not this folder's state.*mv "):
        move(folder, None)
    assert openable(folder, None, there) == [there]


def test_a_variable_with_the_password_that_is_gone_is_no_obstacle(
    folder: Path, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To move back, ASSAY_DATABASE must not be set; it may have held the password."""
    monkeypatch.setenv("ASSAY_DATABASE", there.url.replace("assay@", "assay:word@"))
    move(folder, Database(there.url, SCHEMA, "ASSAY_DATABASE"))
    monkeypatch.delenv("ASSAY_DATABASE")
    assert move(folder, None) is not None


def test_memory_holds_a_batch_of_rows(
    tmp_path: Path, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "a" / ".assay")
    with store.session() as session:
        session.add_all(
            TraceRow(
                id=str(number), project="p", release="r", agent="a", tools=[], masked=0,
                messages=[{"content": os.urandom(10_000).hex()}], answer={}, sampled=False,
            )
            for number in range(1000)
        )  # fmt: skip
    store.engine.dispose()
    monkeypatch.setattr(row_transfer, "BATCH", 20)
    for place in (there, None):
        tracemalloc.start()
        move(store.folder, place)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 7e6  # the rows have 20e6


def test_one_at_a_time(folder: Path, there: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = relocation.copy_rows

    def also(*given: Any) -> Any:
        with pytest.raises(StateError, match="another process is opening or moving"):
            move(folder, there)
        return copy(*given)

    monkeypatch.setattr(relocation, "copy_rows", also)
    assert move(folder, there) is not None
