"""One change of a knowledge base at a time, on whichever machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from assay.knowledge.table import FOLDER
from assay.store.store import Store


class BusyError(Exception):
    """A knowledge base is being changed."""


def lock_of(base: str) -> str:
    """Held while a knowledge base is being changed."""
    return f"{FOLDER}/{base}/build.lock"


@contextmanager
def locked_at_once(store: Store, base: str) -> Iterator[None]:
    """Hold the lock of a knowledge base, without waiting for it.

    Raises:
        BusyError: somebody else holds it.
        NotFoundError: the knowledge base was removed meanwhile.
    """
    with store.lock(lock_of(base), _refuse):
        yield


def _refuse() -> None:
    raise BusyError
