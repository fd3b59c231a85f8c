"""The databases that state can live in: SQLite, and PostgreSQL where this machine has it."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL server, which is the session's own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL here (Debian's package postgresql)")
    # Not below pytest's folder, which every session that begins closes to other users.
    with tempfile.TemporaryDirectory(prefix="assay-postgres-") as folder:
        yield from _server(found[-1].parent, Path(folder))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: a test that takes it runs once on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'assay.db'}"
    folder: str = request.getfixturevalue("postgres")
    name = f"test_{next(_numbers)}"
    server = create_engine(_url("postgres", folder), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    return _url(name, folder)


def _url(name: str, folder: str) -> str:
    return f"postgresql+psycopg://assay@/{name}?host={folder}"


def _server(binaries: Path, folder: Path) -> Iterator[str]:
    """On a Unix socket; PostgreSQL refuses to run as root."""
    data = folder / "pg"
    data.mkdir()
    user = []
    if os.geteuid() == 0:
        folder.chmod(0o755)
        shutil.chown(data, "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    run = {"check": True, "capture_output": True, "timeout": 60}
    subprocess.run([*user, binaries / "initdb", "-D", data, "-A", "trust", "-U", "assay"], **run)  # type: ignore[call-overload]
    options = f"-k {data} -h '' -c fsync=off"
    control = [*user, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
    subprocess.run([*control, "-l", str(data / "log"), "-o", options, "start"], **run)  # type: ignore[call-overload]
    try:
        yield str(data)
    finally:
        stop = [*control, "-m", "immediate", "stop"]
        stopped = subprocess.run(stop, capture_output=True, text=True, timeout=60)
        if stopped.returncode:
            log = (data / "log").read_text()
            pytest.fail(f"PostgreSQL did not stop: {stopped.stderr}\n{log[-2000:]}")
