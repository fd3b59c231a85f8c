"""Under which name a folder keeps what is its own: documents, releases, keys, consents."""

from __future__ import annotations

from pathlib import Path

from assay.store.store import Store

SETTING = "owner"
"""Where a store remembers the name, if it is another than the folder's."""


def owner_of(store: Store, root: Path) -> str:
    """The name of a project in a folder.

    A folder that was served before it became a project keeps the name that it had.
    """
    return store.setting(SETTING) or root.resolve().name
