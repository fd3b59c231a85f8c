"""Answers of batches under way in the bucket: a server without them goes on behind them.

    share(store, batch, besides=log)    # all that is not there yet, but for what is written now
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

from assay.errors import NotFoundError
from assay.jobs import batch_answers
from assay.store import archives
from assay.store.objects import ObjectDamageError
from assay.store.store import Store
from assay.store.tables import BatchRow

_WORK = "work"
log = logging.getLogger("assay.jobs")


def share(store: Store, batch: str, *, besides: Path) -> None:
    """Let other servers have the answers to a batch that are here.

    Args:
        besides: the file that more are written to.

    Raises:
        ObjectsError: the bucket is out of reach; the same call does what is left.
    """
    shared = {row.path for row in archives.rows_below(store, f"{_WORK}/{batch}")}
    for file in batch_answers.logs(store, batch):
        path = file.relative_to(store.folder).as_posix()
        if file != besides and path not in shared:
            archive = archives.pack(store, {file.name: file})
            with store.session() as session:
                archives.name(session, path, archive)


def bring(store: Store, batch: str) -> None:
    """Fetch the answers to a batch that are not here; damaged ones are asked for again.

    Raises:
        ObjectsError: the bucket is out of reach.
    """
    for row in archives.rows_below(store, f"{_WORK}/{batch}"):
        file = store.folder / row.path
        if file.exists():
            continue
        try:
            with archives.unpacked(store, row.path) as (files, _):
                file.parent.mkdir(parents=True, exist_ok=True)
                os.replace(files / file.name, file)
        except (NotFoundError, ObjectDamageError) as error:
            log.warning("%s: answers cannot be used, and are asked for again: %s", batch, error)


def forget(store: Store, batch: str) -> None:
    """Remove what was shared of a batch that is over."""
    archives.forget_below(store, f"{_WORK}/{batch}")


def sweep(store: Store) -> None:
    """Remove what was shared of batches that are over, by whichever server."""
    found = {row.path.split("/")[1] for row in archives.rows_below(store, _WORK)}
    with store.session() as session:
        query = select(BatchRow.id).where(BatchRow.id.in_(found), BatchRow.outcome.is_(None))
        open_ = set(session.scalars(query))
    for batch in found - open_:
        forget(store, batch)
