"""Where a folder's state is, and how it moves to where its settings say.

account = account_of(root)            # where it is, what it has, what the settings name
moved = move_state(root, progress)    # nobody may use it meanwhile
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assay.config import STATE_FOLDER
from assay.errors import StateError, UsageError
from assay.jobs import kept_runs, shared_answers
from assay.jobs.bucket_sweeps import bucket_sweeps
from assay.jobs.identity import dead_workers
from assay.jobs.recovery import heard_workers
from assay.models.versions import copy_to_folder
from assay.progress import Progress
from assay.project.state import StateSettings, settings_of
from assay.project.workspace import Workspace
from assay.store import archives, shared_files
from assay.store.audit import audit
from assay.store.database import open_store, read_record
from assay.store.exclusive_use import exclusive_connection
from assay.store.files import MOVED
from assay.store.object_place import last_bucket
from assay.store.object_transfer import ObjectsMove, count_objects, move_objects
from assay.store.relocation import (
    SQLITE,
    Relocation,
    current_store,
    place_named,
    place_now,
    relocate,
)
from assay.store.row_transfer import count_rows
from assay.store.store import HEAD, Store


@dataclass(frozen=True, slots=True)
class StateAccount:
    """Where the state of a folder is, and what it has.

    Attributes:
        database, objects: where it is; `objects` is of files of /v1/files.
        database_named, objects_named: where the settings say that it should be.
        version: of the tables.
        rows: of each table.
        database_bytes: None where it is not known.
        left: files of earlier places, which can be deleted.
        unfinished: a move was interrupted after its last step: the old place is not marked yet.
    """

    database: str
    database_named: str
    version: str
    rows: dict[str, int]
    database_bytes: int | None
    objects: str
    objects_named: str
    files: int
    file_bytes: int
    left: tuple[str, ...]
    unfinished: bool

    @property
    def moves_database(self) -> bool:
        """Whether the settings name another database."""
        return self.database != self.database_named

    @property
    def moves_objects(self) -> bool:
        """Whether they name another place for files."""
        return self.objects != self.objects_named


@dataclass(frozen=True, slots=True)
class StateMove:
    """What was moved; None: it was there already."""

    database: Relocation | None
    objects: ObjectsMove | None


def account_of(root: Path) -> StateAccount:
    """Where a folder's state is.

    Raises:
        UsageError: it has none.
        AssayError: the database is out of reach, or the settings cannot be read.
    """
    folder, settings = _find(root), settings_of(root)
    record = read_record(folder)
    store = current_store(folder, record)
    try:
        with store.engine.connect() as connection:
            rows = count_rows(connection)
        files, file_bytes = count_objects(store)
        bucket = last_bucket(store)
    finally:
        store.engine.dispose()
    is_sqlite = store.engine.dialect.name == "sqlite"
    here = str(folder.resolve())
    return StateAccount(
        database=place_now(folder, record),
        database_named=place_named(folder, record, settings.database, settings.schema),
        version=HEAD,
        rows=rows,
        database_bytes=(folder / SQLITE).stat().st_size if is_sqlite else None,
        objects=bucket or here,
        objects_named=settings.bucket or here,
        files=files,
        file_bytes=file_bytes,
        left=tuple(map(str, sorted(folder.glob(f"*{MOVED}*")))),
        unfinished=record is not None and record.left is not None,
    )


def move_state(root: Path, progress: Progress) -> StateMove:
    """Move the state of a folder to where its settings say: the rows, then the files.

    Raises:
        UsageError: it has none.
        StateError: somebody uses it, or the new place cannot take it; then it is where it was.
        AssayError: a place is out of reach.
    """
    folder, settings = _find(root), settings_of(root)
    store = current_store(folder, read_record(folder))
    try:
        _check_workers(store)
    finally:
        store.engine.dispose()
    moved = relocate(folder, settings.database, settings.schema, progress)
    objects = _move_objects(folder, settings, progress)
    if moved is not None or objects is not None:
        workspace = Workspace(root)
        for what, one in (("database", moved), ("files", objects)):
            if one is not None:
                details = {"from": one.source, "to": one.target}
                audit(workspace.store, workspace.name, workspace.who, "state.move", what, details)
        workspace.store.engine.dispose()
    return StateMove(moved, objects)


def _copy_others(folder: Path, settings: StateSettings, progress: Progress) -> list[str]:
    from assay.knowledge import build_transfer  # loads Arrow
    from assay.knowledge.table import FOLDER as KNOWLEDGE

    store = open_store(folder, settings.database, settings.schema)
    store.bucket = last_bucket(store)
    try:
        rows = archives.rows_below(store)
        apart = tuple(f"{one}/" for one in (KNOWLEDGE, kept_runs.FOLDER, shared_answers.FOLDER))
        others = [row for row in rows if not row.path.startswith(apart)]
        kept_runs.copy_to_folder(store)
        shared_answers.copy_to_folder(store)
        return [
            *copy_to_folder(store, progress),
            *build_transfer.copy_to_folder(store, progress),
            *shared_files.copy_to_folder(store, others),
        ]
    finally:
        store.engine.dispose()


def _find(root: Path) -> Path:
    folder = root / STATE_FOLDER
    if not folder.is_dir():
        raise UsageError(
            "there is no state in this folder.",
            where=str(root),
            fix="Change to the folder that is served, or give it with --folder. New state is begun "
            "where the settings say.",
        )
    return folder


def _check_workers(store: Store) -> None:
    """Beside the connections that are seen: a worker whose own was broken goes on for a while."""
    names = heard_workers(store)
    alive = names - set(dead_workers(names))
    if alive:
        raise StateError(
            f"a worker has a job of this state: {', '.join(sorted(alive))}.",
            where=store.address,
            fix="Stop all servers and workers, then try again; of a worker that died elsewhere it "
            "is known after 30 seconds.",
        )


def _move_objects(folder: Path, settings: StateSettings, progress: Progress) -> ObjectsMove | None:
    store = open_store(folder, settings.database, settings.schema)
    store.bucket = settings.bucket
    try:
        if last_bucket(store) == store.bucket:
            return None
        with exclusive_connection(store):
            pass  # a server that starts from here on finds no files where the settings say
        copy_others = partial(_copy_others, folder, settings, progress)
        moved = move_objects(store, progress, copy_others)
        for sweep in bucket_sweeps(store):
            sweep(store)
        return moved
    finally:
        store.engine.dispose()
