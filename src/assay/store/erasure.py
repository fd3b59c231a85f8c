"""That nothing of what is deleted is left in the database's file."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from assay.store.store import Store


def overwrite(session: Session) -> None:
    """Let what this session deletes or changes leave nothing behind in SQLite's file."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text("PRAGMA secure_delete=ON"))


def scrub(store: Store) -> None:
    """Take what was overwritten out of SQLite's log too, as far as nobody is reading it."""
    if store.engine.dialect.name == "sqlite":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
