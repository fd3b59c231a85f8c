"""Where the objects of a project are: in its folder, or in the bucket that the settings name.

    objects = objects_of(store)

A bucket belongs to one folder, as a database schema does: both hold the same random name, so no
folder takes the files of another for its own, and none begins anew because a setting was lost.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from assay.errors import ObjectsError
from assay.store.bucket import Bucket
from assay.store.objects import FolderObjects, Objects

if TYPE_CHECKING:  # a training reads its base's versions here, and no database
    from assay.store.store import Store

FOLDER = "objects_folder"
"""The setting of a store with the random name that its bucket holds, too."""
MOVE_LOCK = "objects.move.lock"
"""Held while something of the folder is moved into the bucket."""
BEGUN = "objects_address"
"""The setting with the bucket that was used last; None: none ever was."""


def objects_of(store: Store) -> Objects:
    """Where a folder's objects are, looked at once in a process.

    Raises:
        ObjectsError: it is out of reach, ignores conditional writes, belongs to another folder, or
            no setting names it any more.
    """
    if store.objects is None:
        store.objects = _open(store)
    return store.objects


def last_bucket(store: Store) -> str | None:
    """The bucket that a folder's files were in last; None: they are in the folder."""
    return store.setting(BEGUN)


def _open(store: Store) -> Objects:
    begun = store.setting(BEGUN)
    if store.bucket is None:
        if begun is not None:
            raise ObjectsError(
                f"files of this folder are in {begun}, and no setting names it any more.",
                where=str(store.folder),
                fix="Name it in assay.yaml (state.objects) or in ASSAY_OBJECTS.",
            )
        return FolderObjects(store.folder)
    bucket = Bucket(store.bucket)
    bucket.probe()
    with store.lock("objects.lock"):
        name = store.setting(FOLDER)
        if name is None:
            name = secrets.token_hex(16)
            store.set(FOLDER, name)  # first: whoever dies from here on can begin again
    found = bucket.owner()
    if found is None and begun is None:
        bucket.claim(name)
        found = bucket.owner()
    if found is None:
        raise ObjectsError(
            f"files of this folder are in {begun}, and there are none in {bucket.address}.",
            where=str(store.folder),
            fix="Copy all objects there, or name the bucket and prefix that have them.",
        )
    if found != name:
        raise ObjectsError(
            "this bucket and prefix have the files of another folder.",
            where=bucket.address,
            fix="Choose another prefix (state.objects in assay.yaml).",
        )
    if begun != bucket.address:
        store.set(BEGUN, bucket.address)
    return bucket
