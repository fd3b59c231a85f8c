"""Which database holds a folder's state, and which bucket its files: its assay.yaml says, else the
environment, else SQLite and the folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from assay.config import CONFIG_FILE, STATE_FOLDER, Config
from assay.config.state import (
    DATABASE_VARIABLE,
    State,
    database_variable,
    objects_variable,
    state_in,
)
from assay.errors import ConfigError, ObjectsAwayError
from assay.store.database import Database, in_variable, is_elsewhere, open_again, open_store
from assay.store.object_place import last_bucket, objects_of
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
        store = open_again(folder)
        is_named = text is not None or (root / CONFIG_FILE).exists()
        store.bucket = (None if is_named else objects_variable()) or last_bucket(store)
        return store
    store = open_store(folder, settings.database, settings.schema)
    store.bucket = settings.bucket
    return store


def names_bucket(config: Config) -> bool:
    """Whether the state of a project may be in a bucket; its database is not opened."""
    return (config.state.objects or objects_variable()) is not None


def check_bucket(store: Store, warn: Callable[[str], None]) -> None:
    """See, before a folder is served, that its files can be used.

    Args:
        warn: told where they cannot be reached now: what needs no files is served all the same.

    Raises:
        ObjectsError: the bucket loses files, has those of another folder, or access is refused.
    """
    try:
        objects_of(store)
    except ObjectsAwayError as error:
        warn(str(error))


def database_of(root: Path) -> Database | None:
    """The database that is named for a folder; None: SQLite.

    Raises:
        ConfigError: its settings cannot be used.
    """
    settings = _read_settings(root, None)
    return None if settings is None else settings.database


def settings_of(root: Path) -> StateSettings:
    """What is named for a folder: by its assay.yaml, else by the environment.

    Raises:
        ConfigError: assay.yaml or its section `state` cannot be read.
    """
    found = _read_settings(root, None)
    if found is None and (root / CONFIG_FILE).exists():
        raise ConfigError(
            "it cannot be read, so it is not known where the state should be.",
            where=str(root / CONFIG_FILE),
            fix="Correct it and try again.",
        )
    return found or StateSettings(None, bucket=objects_variable())


@dataclass(frozen=True, slots=True)
class StateSettings:
    """What settings name.

    Attributes:
        schema: for state that is begun in the database.
        bucket: for files; None: the folder.
    """

    database: Database | None
    schema: str | None = None
    bucket: str | None = None


def _read_settings(root: Path, text: str | None) -> StateSettings | None:
    """None: nothing can be read that could name a database."""
    file = root / CONFIG_FILE
    try:
        if text is None and file.exists():
            text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if text is None:
        given = database_variable()
        if given is None:
            return None
        return StateSettings(in_variable(DATABASE_VARIABLE, given), bucket=objects_variable())
    found = state_in(text)
    return None if found is None else _settings_of(*found)


def _settings_of(state: State, name: str | None) -> StateSettings:
    """What the section `state` says, else the variable; the latter is not read without need."""
    schema = None if name is None else f"assay_{name.replace('-', '_')}"[:63]
    bucket = state.objects or objects_variable()
    if state.database is not None:
        database = Database(state.database, state.schema_name, state.password_env)
        return StateSettings(database, schema, bucket)
    if (given := database_variable()) is None:
        return StateSettings(None, bucket=bucket)
    database = replace(in_variable(DATABASE_VARIABLE, given), schema=state.schema_name)
    return StateSettings(database, schema, bucket)
