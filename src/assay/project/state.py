"""Which database holds a folder's state: its assay.yaml says, else the environment, else SQLite."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from assay.config import CONFIG_FILE, STATE_FOLDER
from assay.config.state import VARIABLE, database_variable, state_in
from assay.errors import ConfigError
from assay.store.database import Database, in_variable, is_elsewhere, open_again, open_store
from assay.store.store import Store


def open_state(root: Path, text: str | None = None) -> Store:
    """The state of a folder.

    Args:
        text: taken for assay.yaml; None: the file's own, if there is one.

    Raises:
        ConfigError: the settings name no database that can be used.
        AssayError: it is out of reach, or has the state of another folder.
    """
    folder = root / STATE_FOLDER
    try:
        named = _named(root, text)
    except ConfigError:
        if is_elsewhere(folder):
            named = None
        else:
            raise
    if named is None:  # a server goes on with what it served, see `last_good`
        return open_again(folder)
    return open_store(folder, named.database, named.schema)


def database_of(root: Path) -> Database | None:
    """The database that is named for a folder; None: SQLite.

    Raises:
        ConfigError: its settings cannot be used.
    """
    named = _named(root, None)
    return None if named is None else named.database


@dataclass(frozen=True, slots=True)
class _Named:
    """The database that settings name, and the schema for state that is begun in it."""

    database: Database | None
    schema: str | None = None


def _named(root: Path, text: str | None) -> _Named | None:
    """None: nothing can be read that could name one."""
    file = root / CONFIG_FILE
    try:
        if text is None and file.exists():
            text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    given = database_variable()
    if text is None:
        return None if given is None else _Named(in_variable(VARIABLE, given))
    if (found := state_in(text)) is None:
        return None
    state, name = found
    schema = None if name is None else f"assay_{name.replace('-', '_')}"[:63]
    if state.database is not None:
        return _Named(Database(state.database, state.schema_name, state.password_env), schema)
    if given is None:
        return _Named(None)
    return _Named(replace(in_variable(VARIABLE, given), schema=state.schema_name), schema)
