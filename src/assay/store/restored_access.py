"""Who could get into a state when its backup was made, and may get into what is restored of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RestoredAccess:
    """What comes back with a state, whatever has happened to it since.

    Attributes:
        keys: API keys that were good: `{id, project, name, hint, scopes}`.
        people: `{name, role}` of the studio.
        providers: those whose keys are kept: `{project, name, origin}`.
        consents: providers that rows and requests may go to: `{project, name, origin}`.
        sessions, links: how many were ended; they do not come back.
    """

    keys: tuple[dict[str, Any], ...] = ()
    people: tuple[dict[str, Any], ...] = ()
    providers: tuple[dict[str, Any], ...] = ()
    consents: tuple[dict[str, Any], ...] = ()
    sessions: int = 0
    links: int = 0

    @property
    def anybody(self) -> bool:
        """Whether there is anything to be asked about."""
        return bool(self.keys or self.people or self.providers or self.consents)


def end_sessions(database: Path) -> RestoredAccess:
    """End every session and sign-in link of a database that nobody uses; returns what stays.

    Raises:
        sqlite3.DatabaseError: it is damaged, or none of ours.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA secure_delete=ON")  # no hash stays in a free page
        kept = "SELECT project, provider AS name, origin FROM"
        return RestoredAccess(
            keys=_rows(
                connection,
                "api_keys",
                "SELECT id, project, name, hint, scopes FROM api_keys WHERE revoked IS NULL "
                "ORDER BY created, id",
            ),
            people=_rows(connection, "users", "SELECT name, role FROM users ORDER BY name"),
            providers=_rows(connection, "secrets", f"{kept} secrets ORDER BY 1, 2"),
            consents=_rows(connection, "consents", f"{kept} consents ORDER BY 1, 2"),
            sessions=_emptied(connection, "sessions", "DELETE FROM sessions"),
            links=_emptied(connection, "sign_ins", "DELETE FROM sign_ins"),
        )


def _rows(connection: sqlite3.Connection, table: str, query: str) -> tuple[dict[str, Any], ...]:
    if not _there(connection, table):
        return ()
    return tuple(dict(row) for row in connection.execute(query))


def _emptied(connection: sqlite3.Connection, table: str, statement: str) -> int:
    if not _there(connection, table):
        return 0
    return connection.execute(statement).rowcount


def _there(connection: sqlite3.Connection, table: str) -> bool:
    """Whether a database, which may be older, has a table."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None
