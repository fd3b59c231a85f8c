"""Blobs: bytes that are known by their content, and never change.

    name = blobs.put(store, data)
    data = blobs.get(store, name)

They are files in `<state>/blobs`, or in a bucket where there is one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from assay.errors import AssayError
from assay.store.folder_blobs import Blobs, FolderBlobs
from assay.store.object_place import objects_of
from assay.store.store import Store

if TYPE_CHECKING:
    from assay.store.bucket_blobs import BucketBlobs


def put(store: Store, data: bytes) -> str:
    """Keep bytes by their content; returns their sha256 (hex).

    Raises:
        ObjectsError: blobs are in a bucket, which is out of reach.
    """
    name = hashlib.sha256(data).hexdigest()
    _blobs_of(store).put(name, data)
    return name


def get(store: Store, name: str) -> bytes:
    """The bytes kept under a sha256.

    Raises:
        AssayError: there are none, or they have been changed.
        ObjectsError: they are in a bucket, which is out of reach, and there is no copy here.
    """
    data = _blobs_of(store).get(name)
    if data is None:
        raise AssayError(f"there is no blob {name[:12]}.", where=str(store.folder))
    return data


def has(store: Store, name: str) -> bool:
    """Whether something is kept under a sha256."""
    return _blobs_of(store).has(name)


def sweep(store: Store) -> None:
    """Move the blobs of the folder into the bucket, where there is one now.

    Raises:
        ObjectsError: it is out of reach.
    """
    if store.bucket is not None:
        _bucket_blobs(store).sweep()


def _blobs_of(store: Store) -> Blobs:
    if store.bucket is not None:
        return _bucket_blobs(store)
    objects_of(store)  # refuses to begin anew where a setting was lost
    return _folder_blobs(store)


def _folder_blobs(store: Store) -> FolderBlobs:
    return FolderBlobs(store.folder / "blobs")


def _bucket_blobs(store: Store) -> BucketBlobs:
    from assay.store.bucket_blobs import BucketBlobs  # not needed without a bucket

    return BucketBlobs(store, _folder_blobs(store))
