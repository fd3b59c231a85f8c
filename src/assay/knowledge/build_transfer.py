"""Knowledge bases of the folder move into a bucket, and back, and follow what other servers do."""

from __future__ import annotations

import logging
from contextlib import suppress

from sqlalchemy.exc import IntegrityError

from assay.errors import NotFoundError
from assay.knowledge import records
from assay.knowledge.build import Builder
from assay.knowledge.build_archives import find_path, path_of
from assay.knowledge.lock import lock_of
from assay.knowledge.records import Build
from assay.knowledge.shared_builds import bring_build, files_of, tables_at
from assay.knowledge.table import FOLDER, IndexBrokenError, base_folder, erase
from assay.progress import Progress
from assay.store import archives, unnamed_objects
from assay.store.locks import LockHeldError, lock_at_once
from assay.store.objects import damaged
from assay.store.store import Store

log = logging.getLogger("assay.knowledge")


def sweep(store: Store) -> None:
    """Move builds of the folder into the bucket, where there is one now, and remove from the folder
    what another server has removed.

    Raises:
        ObjectsError: it is out of reach.
    """
    if store.bucket is None:
        return
    here = [folder for folder in (store.folder / FOLDER).glob("*") if folder.is_dir()]
    known = records.base_ids(store)  # after it: a new one has its row before its folder
    for base in known:
        with suppress(LockHeldError, NotFoundError), lock_at_once(store, lock_of(base)):
            if not records.has_base(store, base):
                continue  # deleted meanwhile
            for build in records.builds_of(store, base):
                _move(store, base, build)
            Builder(store, base, records.present(store, base)).sweep()
    for folder in here:
        if folder.name not in known:
            erase(folder)


def copy_to_folder(store: Store, progress: Progress) -> list[str]:
    """Put every build that is in the bucket into the folder as well, as its hash says.

    Returns:
        `knowledge/ID/SNAPSHOT` of each whose object is gone.

    Raises:
        ObjectsError: one is damaged, or the bucket is out of reach.
    """
    missing = []
    bases = records.base_ids(store)
    with progress.task("Copying knowledge bases", len(bases), "knowledge bases") as task:
        for base in bases:
            for build in records.builds_of(store, base):
                try:
                    _copy(store, base, build)
                except IndexBrokenError:
                    missing.append(path_of(base, build.snapshot))
            task.advance()
    return missing


def _copy(store: Store, base: str, build: Build) -> None:
    if build.table is None:
        return
    row = archives.row_of(store, find_path(store, base, build.table, build.snapshot))
    if row is None:
        return
    documents = records.documents_of(store, build)
    tables = tables_at(base_folder(store, base))
    if archives.sha256_of_files(files_of(store, base, build.table, documents)) == row.sha256:
        return
    tables.drop(build.table)
    bring_build(store, base, build, documents)
    if archives.sha256_of_files(files_of(store, base, build.table, documents)) != row.sha256:
        raise damaged(str(tables.path(build.table)), str(store.folder))


def _move(store: Store, base: str, build: Build) -> None:
    if build.table is None:
        return
    path = find_path(store, base, build.table, build.snapshot)
    if archives.row_of(store, path) is not None:
        return
    if not tables_at(base_folder(store, base)).has(build.table):
        return  # another server's
    documents = records.documents_of(store, build)
    try:
        archive = archives.pack(store, files_of(store, base, build.table, documents))
    except FileNotFoundError as error:
        log.warning(
            "the knowledge base %s stays in the folder, since %s is missing: `assay knowledge "
            "check` names the document that it is of; add that again",
            records.name_of(store, base),
            error.filename,
        )
        return
    try:
        with store.session() as session:
            archives.name(session, path, archive)
    except IntegrityError:  # a folder that is shared: another server has moved it
        unnamed_objects.discard(store, archive.object)
