"""Which database holds a folder's state: its assay.yaml says, else the environment, else SQLite."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from assay.config import CONFIG_FILE, STATE_FOLDER, Config
from assay.config.state import DATABASE_VARIABLE, State, database_variable, state_in
from assay.errors import ConfigError
from assay.store.database import Database, in_variable, is_elsewhere, open_again, open_store
from assay.store.store import Store


def open_state(root: Path, text: str | None = None, config: Config | None = None) -> Store:
    """The state of a folder.

    Args:
        text: taken for assay.yaml; None: the file's own, if there is one.
        config: what a text says that was read before, which is not read again then.

    Raises:
        ConfigError: the settings name no database that can be used.
        AssayError: it is out of reach, or has the state of another folder.
    """
    folder = root / STATE_FOLDER
    try:
        if config is None:
            settings = _read_settings(root, text)
        else:
            settings = _settings_of(config.state, config.name)
    except ConfigError:
        if not is_elsewhere(folder):
            raise
        settings = None
    if settings is None:  # a server goes on with what it served, see `last_good`
        return open_again(folder)
    return open_store(folder, settings.database, settings.schema)


def database_of(root: Path) -> Database | None:
    """The database that is named for a folder; None: SQLite.

    Raises:
        ConfigError: its settings cannot be used.
    """
    settings = _read_settings(root, None)
    return None if settings is None else settings.database


@dataclass(frozen=True, slots=True)
class _StateSettings:
    """The database that settings name, and the schema for state that is begun in it."""

    database: Database | None
    schema: str | None = None


def _read_settings(root: Path, text: str | None) -> _StateSettings | None:
    """None: nothing can be read that could name a database."""
    file = root / CONFIG_FILE
    try:
        if text is None and file.exists():
            text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if text is None:
        given = database_variable()
        return None if given is None else _StateSettings(in_variable(DATABASE_VARIABLE, given))
    found = state_in(text)
    return None if found is None else _settings_of(*found)


def _settings_of(state: State, name: str | None) -> _StateSettings:
    """What the section `state` says, else the variable; the latter is not read without need."""
    schema = None if name is None else f"assay_{name.replace('-', '_')}"[:63]
    if state.database is not None:
        database = Database(state.database, state.schema_name, state.password_env)
        return _StateSettings(database, schema)
    if (given := database_variable()) is None:
        return _StateSettings(None)
    database = replace(in_variable(DATABASE_VARIABLE, given), schema=state.schema_name)
    return _StateSettings(database, schema)
