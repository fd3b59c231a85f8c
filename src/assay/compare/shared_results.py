"""What comparisons have made, the same for all servers of a bucket.

So one that goes on elsewhere asks nothing twice, and its report is shown anywhere. Batches of
answers are shared by `evaluate.run`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from assay.store import archives, shared_files
from assay.store.files import MOVED
from assay.store.store import Store

FOLDER = "comparisons"
_FILES = ("runs/*/*.json", "speeds/*/performance/*.json", "curves/*.json")
SETTLED_S = 60.0
"""A file that was written longer ago is not going to be shared by who has written it."""


def folder_of(store: Store, comparison: str) -> Path:
    """Where plan, result, answers and report of a comparison are, or would be.

    Raises:
        ObjectsError: they are in the bucket, which is out of reach, and not here.
    """
    folder = store.folder / FOLDER / comparison[:16]
    return _bring(store, folder, "what this comparison has written")


def bring_figures(store: Store, file: Path) -> Path:
    """A file of figures, as any server has written it."""
    return _bring(store, file, "a measurement")


def replacing(store: Store, folder: Path) -> AbstractContextManager[None]:
    """Write the folder of a comparison anew; all servers have it when the block ends.

    Raises:
        ObjectsError: the bucket is out of reach; the others have what was there before.
    """
    if store.bucket is None:
        return nullcontext()
    return shared_files.replacing(store, _path(store, folder))


def share(store: Store, place: Path) -> None:
    """Let every server have a file of figures, or the folder of a comparison."""
    if store.bucket is not None:
        shared_files.share(store, _path(store, place))


def sweep(store: Store) -> None:
    """Move what was written without a bucket, or by a process that was killed, into it.

    Raises:
        ObjectsError: it is out of reach.
    """
    if store.bucket is None:
        return
    for place in _places(store.folder):
        path = _path(store, place)
        if shared_files.is_noted(store, path) or _age_s(place) < SETTLED_S:
            continue
        if archives.row_of(store, path) is None:
            shared_files.share(store, path)


def _age_s(place: Path) -> float:
    return time.time() - place.stat().st_mtime


def _places(state: Path) -> Iterator[Path]:
    for pattern in _FILES:
        yield from state.glob(pattern)
    for result in state.glob(f"{FOLDER}/*/result.json"):
        if MOVED not in result.parent.name:
            yield result.parent


def _bring(store: Store, place: Path, what: str) -> Path:
    if store.bucket is not None:
        shared_files.bring(store, _path(store, place), what)
    return place


def _path(store: Store, place: Path) -> str:
    return place.relative_to(store.folder).as_posix()
