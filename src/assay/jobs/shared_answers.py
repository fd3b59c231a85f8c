"""Answers of batches under way in the bucket: a server without them goes on behind them.

    share(store, batch, all_but=log)    # what is not there yet, but for the file still written to
    bring(store, batch)                 # before answers are read
    sweep(store)                        # of batches that are over

A file of answers (`batch_answers.new_log`) is shared once, under its own name, when nothing is
added to it any more. What a server shares that was taken for dead counts as well: it is paid for.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from assay.errors import NotFoundError
from assay.jobs import batch_answers
from assay.store import archives, unnamed_objects
from assay.store.archives import Archive
from assay.store.objects import ObjectDamageError
from assay.store.store import Store
from assay.store.tables import BatchRow

FOLDER = "work"
"""Of the archives, among the shared files, as in the state."""
log = logging.getLogger("assay.jobs")


def share(store: Store, batch: str, *, all_but: Path) -> None:
    """Let other servers have the answers to a batch that are here.

    Args:
        all_but: the file that more are written to.

    Raises:
        ObjectsError: the bucket is out of reach; the same call does what is left.
    """
    shared = {row.path for row in archives.rows_below(store, f"{FOLDER}/{batch}")}
    for file in batch_answers.logs(store, batch):
        path = file.relative_to(store.folder).as_posix()
        if file != all_but and path not in shared:
            _share(store, path, archives.pack(store, {file.name: file}))


def _share(store: Store, path: str, archive: Archive) -> None:
    try:
        with store.session() as session:
            gone = archives.name(session, path, archive)
    except IntegrityError:  # a call that was given up has shared the same file meanwhile
        gone = []
        unnamed_objects.discard(store, archive.object)
    unnamed_objects.remove_doomed(store, gone)


def bring(store: Store, batch: str) -> None:
    """Fetch the answers to a batch that are not here; damaged ones are asked for again.

    Raises:
        ObjectsError: the bucket is out of reach.
    """
    for row in archives.rows_below(store, f"{FOLDER}/{batch}"):
        file = store.folder / row.path
        if file.exists():
            continue
        try:
            with archives.unpacked(store, row.path) as (files, _):
                file.parent.mkdir(parents=True, exist_ok=True)
                os.replace(files / file.name, file)
        except (NotFoundError, ObjectDamageError) as error:
            log.warning("%s: answers cannot be used, and are asked for again: %s", batch, error)


def are_missing(store: Store, batch: str) -> bool:
    """Whether `bring` would have to fetch answers, which may take long."""
    rows = archives.rows_below(store, f"{FOLDER}/{batch}")
    return any(not (store.folder / row.path).exists() for row in rows)


def copy_to_folder(store: Store) -> None:
    """Fetch the answers to all batches that are not here, once there is no bucket.

    Raises:
        ObjectsError: the bucket is out of reach.
    """
    for batch in _batches(store):
        bring(store, batch)


def forget(store: Store, batch: str) -> None:
    """Remove what was shared of a batch that is over."""
    archives.forget_below(store, f"{FOLDER}/{batch}")


def sweep(store: Store) -> None:
    """Remove what was shared of batches that are over, by whichever server."""
    found = _batches(store)
    with store.session() as session:
        query = select(BatchRow.id).where(BatchRow.id.in_(found), BatchRow.outcome.is_(None))
        open_ = set(session.scalars(query))
    for batch in found - open_:
        forget(store, batch)


def _batches(store: Store) -> set[str]:
    return {row.path.split("/")[1] for row in archives.rows_below(store, FOLDER)}
