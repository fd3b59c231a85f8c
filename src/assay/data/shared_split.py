"""The split of a project, the same for all servers: in the folder, and in the bucket where there is
one. Examples that were divided are never divided a second time because a server does not have them.

    with dividing(store, progress) as folder:
        prepare(..., folder, ...)
    load_train(present_split(store))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from assay.data.split import LOCK, has_split
from assay.progress import SILENT, Progress
from assay.store import shared_files
from assay.store.files import recover_folder
from assay.store.object_place import objects_of
from assay.store.store import Store

FOLDER = "split"
_WHAT = "the split of the examples, with the locked holdout,"
_DIVIDING = Lock()
"""Of two threads that find no division, the second finds that of the first."""


def present_split(store: Store) -> Path:
    """The folder of the split, as it was made last on any server.

    Raises:
        ObjectsError: it is not on this server, and the bucket is out of reach or has lost it.
    """
    if store.bucket is not None and not shared_files.is_current(store, FOLDER):
        with dividing(store):
            pass
    return store.folder / FOLDER


@contextmanager
def dividing(store: Store, progress: Progress = SILENT) -> Iterator[Path]:
    """The folder of the split, to make or replace it: one at a time, of all threads, processes and
    servers; what one that died has left is mended. What was made is seen by others at the end.

    Raises:
        ObjectsError: as `present_split`; or what was made could not be brought to the bucket.
    """
    folder = store.folder / FOLDER
    said = "Another process is splitting the examples; waiting for it to end."
    with store.lock(LOCK, lambda: progress.say(said)), _DIVIDING:
        recover_folder(folder)
        if store.bucket is None:
            objects_of(store)  # refuses to begin anew where a setting was lost
            yield folder
            return
        known = shared_files.bring(store, FOLDER, _WHAT)
        yield folder
        if has_split(folder) and (known is None or not shared_files.is_noted(store, FOLDER)):
            shared_files.publish(store, FOLDER, instead_of=known)


def replacing_split(store: Store) -> None:
    """Say that the split in the folder is about to be replaced."""
    if store.bucket is not None:
        shared_files.forget_origin(store, FOLDER)


def sweep(store: Store) -> None:
    """Move the split of the folder into the bucket, where there is one now.

    Raises:
        ObjectsError: it is out of reach.
    """
    if store.bucket is not None and has_split(store.folder / FOLDER):
        with dividing(store):
            pass
