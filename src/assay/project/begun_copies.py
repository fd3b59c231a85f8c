"""The copies of what comparisons were requested with, and their pins, go when their jobs are over.

The copies (`assay.project.jobs.begun`) lie in the folder's state, one a job.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from assay import json_reader
from assay.config import STATE_FOLDER
from assay.errors import AssayError
from assay.jobs import queue
from assay.knowledge import pins
from assay.project.kept_documents import pin_of
from assay.project.workspace import Workspace

BEGUN = "begun"
"""Folder of the copies in `.assay`."""
DRAFT = ".draft"
"""Ends the name of a copy that is not whole yet."""
DOCUMENTS, LIST = "documents", "list.json"
"""In a copy: the files that the comparison adds to its documents, and what they are called."""
_YOUNG_S = 3600.0
"""How long a copy stays whose job is not in the queue: `compare` copies first, and then queues."""


def copy_of(workspace: Workspace, job: str) -> Path:
    """The folder of a job's copy."""
    return workspace.root / STATE_FOLDER / BEGUN / job


def end(workspace: Workspace, job: str) -> None:
    """The job is over: remove what it began with, and let go the documents that it searched."""
    with suppress(AssayError):  # `remove_left` does what this cannot
        pins.unpin(workspace.store, pin_of(job))
    copy = copy_of(workspace, job)
    for one in (copy, copy.with_suffix(DRAFT)):
        shutil.rmtree(one, ignore_errors=True)


def remove_left(workspace: Workspace) -> None:
    """Remove the copies and the pins of jobs that are over, such as one whose worker died too
    often, and those that were never queued."""
    store = workspace.store
    pins.unpin_left(store)
    copies = list((workspace.root / STATE_FOLDER / BEGUN).glob("*"))
    held = pins.of_jobs(store)
    if not copies and not held:
        return
    is_over = {job.id: job.status in queue.OVER for job in queue.jobs(store)}
    ends = {pin_of(id): over for id, over in is_over.items()}
    old = pins.of_jobs(store, timedelta(seconds=_YOUNG_S))
    for pin in held:
        if ends.get(pin, pin in old):
            pins.unpin(store, pin)
    for copy in copies:
        is_old = time.time() - _changed(copy) > _YOUNG_S
        if is_over.get(copy.name.removesuffix(DRAFT), is_old):
            shutil.rmtree(copy, ignore_errors=True)


def copied_documents(workspace: Workspace) -> set[str]:
    """The names of documents that comparisons are going to add from their copies."""
    found: set[str] = set()
    for listed in (workspace.root / STATE_FOLDER / BEGUN).glob(f"*/{DOCUMENTS}/{LIST}"):
        with suppress(FileNotFoundError):  # it is over
            copied = json_reader.read(listed.read_text(encoding="utf-8"))
            found.update(one["document"] for one in copied)
    return found


def _changed(copy: Path) -> float:
    """When it was made (a draft: begun); now, where it has been renamed or removed meanwhile."""
    try:
        return copy.stat().st_mtime
    except FileNotFoundError:
        return time.time()
