"""Files of clients become documents of a knowledge base: what is queued, and what a worker does.

A document is called `FILE/FILENAME`, so that two files of one name stay apart, and carries the
file's id as its label, by which a search can be held to some files before anything is ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from sqlalchemy import select

from assay.errors import NotFoundError, StateError
from assay.jobs import queue
from assay.jobs.worker import Work
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.sources import SourceFile
from assay.store import stored_files
from assay.store.store import Store
from assay.store.stored_files import StoredFile
from assay.store.tables import VectorStoreFileRow, VectorStoreRow

INDEX = "index"


def document_name(file: StoredFile) -> str:
    """What the document is called that a file becomes."""
    return f"{file.id}/{file.filename}"


def enqueue(
    store: Store,
    project: str,
    base: str,
    files: Sequence[StoredFile],
    attributes: Mapping[str, Mapping[str, Any]],
) -> str:
    """Queue the files, each with its attributes by its id; returns the job's id."""
    id = queue.new_id()
    payload = {"base": base, "files": [file.id for file in files]}
    kept = [
        VectorStoreFileRow(
            project=project,
            store=base,
            file=file.id,
            document=document_name(file),
            bytes=file.bytes,
            job=id,
            attributes=dict(attributes.get(file.id, {})),
        )
        for file in files
    ]
    return queue.enqueue(store, project, INDEX, payload, id=id, rows=kept)


def index(work: Work) -> dict[str, Any]:
    """Add the files of a job; one that cannot be read is told with its reason and stops nothing."""
    store, project, name = work.store, work.job.project, work.payload["base"]
    base = KnowledgeBase(store, project, name)
    failed: dict[str, str] = {}
    sources: dict[str, SourceFile] = {}
    with ExitStack() as held:
        for id in work.payload["files"]:
            try:
                file = stored_files.find(store, project, id)
                if not _wanted(store, project, name, id):
                    continue
                path = held.enter_context(stored_files.on_disk(store, file))
            except NotFoundError:
                failed[id] = "the file was deleted before it was read."
            else:
                sources[id] = SourceFile(document_name(file), path, labels=(id,))
        if not sources:
            return {"failed": failed, "passages": 0}
        added = base.add(sources.values(), progress=work)
    reasons = {one.file: one.reason for one in added.failed}
    for id, source in sources.items():
        if source.document in reasons:
            failed[id] = reasons[source.document]
        if not _wanted(store, project, name, id):  # taken out while it was read
            with suppress(NotFoundError):
                left = base.remove([source.document]).left
                if not left and not _known(store, project, name):  # so was all of it
                    with suppress(StateError):  # a comparison searches it
                        base.delete()
    return {"failed": failed, "passages": added.passages}


def _known(store: Store, project: str, name: str) -> bool:
    query = select(VectorStoreRow.key).where(
        VectorStoreRow.project == project, VectorStoreRow.id == name
    )
    with store.session() as session:
        return session.scalar(query) is not None


def _wanted(store: Store, project: str, name: str, file: str) -> bool:
    query = select(VectorStoreFileRow.key).where(
        VectorStoreFileRow.project == project,
        VectorStoreFileRow.store == name,
        VectorStoreFileRow.file == file,
    )
    with store.session() as session:
        return session.scalar(query) is not None
