"""The databases that state can live in: SQLite, and PostgreSQL where this machine has it."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from assay.store.store import Store
from tests.services import missing

POSTGRES = Path("/usr/lib/postgresql")
"""Where Debian puts its versions."""
_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def made_once() -> Iterator[None]:
    """A new store begins as a copy of the first one's empty tables, which the migrations made."""
    migrate, made = Store._migrate, b""

    def begin(store: Store) -> None:
        nonlocal made
        name = store.engine.url.database
        if store.engine.dialect.name != "sqlite" or name is None or Path(name).exists():
            migrate(store)
            return
        if made:
            whole = Path(f"{name}.{next(_numbers)}")
            with suppress(OSError):  # another thread was first, or a full disk, which they tell
                whole.write_bytes(made)
                Path(name).hardlink_to(whole)
            whole.unlink(missing_ok=True)
        migrate(store)  # it looks at least whether they are the newest
        if not made:
            with closing(sqlite3.connect(name)) as connection:
                made = connection.serialize()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_migrate", begin)
        yield


def postgres_binaries() -> Path:
    """The folder of the newest PostgreSQL's programs."""
    found = sorted(POSTGRES.glob("*/bin/initdb"))
    if not found:
        missing("no PostgreSQL here (Debian's package postgresql)")
    return found[-1].parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL server, which is the session's own."""
    # Not below pytest's folder, which every session that begins closes to other users.
    with (
        tempfile.TemporaryDirectory(prefix="assay-postgres-") as folder,
        postgres_server(postgres_binaries(), Path(folder)) as server,
    ):
        yield server.socket


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that a test may stop and start."""
    with (
        tempfile.TemporaryDirectory(prefix="assay-postgres-") as folder,
        postgres_server(postgres_binaries(), Path(folder)) as server,
    ):
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: a test that takes it runs once on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'assay.db'}"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def empty_postgres(postgres: str) -> str:
    """URL of an empty database of PostgreSQL, as a user would write it."""
    return new_database(postgres).replace("+psycopg", "")


def new_database(folder: str) -> str:
    """Make a database of the server whose socket is in a folder; its URL."""
    name = f"test_{next(_numbers)}"
    server = create_engine(_url("postgres", folder), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    return _url(name, folder)


def _url(name: str, folder: str) -> str:
    return f"postgresql+psycopg://assay@/{name}?host={folder}"


@dataclass(frozen=True)
class PostgresServer:
    """PostgreSQL on a Unix socket.

    Attributes:
        socket: the folder of the socket, and of the data.
        user: what its programs are run by: PostgreSQL refuses to run as root.
    """

    binaries: Path
    socket: str
    user: tuple[str, ...]

    @property
    def url(self) -> str:
        """Of the database that is always there."""
        return _url("postgres", self.socket)

    def start(self, more: str = "") -> None:
        options = f"-k {self.socket} -h '' -c fsync=off {more}"
        self._control("-l", f"{self.socket}/log", "-o", options, "start")

    def start_on_tcp(self) -> str:
        """Start it with a port, too; the URL there."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.start(f"-h 127.0.0.1 -p {port}")
        return f"postgresql+psycopg://assay@127.0.0.1:{port}/postgres"

    def stop(self) -> None:
        """At once, as if it had been killed."""
        self._control("-m", "immediate", "stop")

    def _control(self, *words: str) -> None:
        command = [*self.user, str(self.binaries / "pg_ctl"), "-D", self.socket, "-w", *words]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


@contextmanager
def postgres_server(binaries: Path, folder: Path) -> Iterator[PostgresServer]:
    data = folder / "pg"
    data.mkdir()
    user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        folder.chmod(0o755)
        shutil.chown(data, "postgres")
        user = ("runuser", "-u", "postgres", "--")
    made = [*user, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "assay"]
    subprocess.run(made, check=True, capture_output=True, timeout=120)
    server = PostgresServer(binaries, str(data), user)
    server.start()
    try:
        yield server
    finally:
        try:
            if (data / "postmaster.pid").exists():  # a test may have stopped it
                server.stop()
        except subprocess.CalledProcessError as error:
            log = (data / "log").read_text()
            pytest.fail(f"PostgreSQL did not stop: {error.stderr}\n{log[-2000:]}")
