"""The parts of a new project on their way into the folder that is served.

place(made, root, lambda: store)  # all of them, or, after a kill in between, the rest by:
finish(root, lambda: store)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from assay.config import CONFIG_FILE, STATE_FOLDER
from assay.errors import StateError
from assay.store.store import Store

_PARTS = "new-project"
"""In the state folder: what has still to be moved. Its appearance is the decision to move all."""
_LOCK = f"{_PARTS}.lock"


def place(made: Path, root: Path, state: Callable[[], Store]) -> None:
    """Move all parts of a project that is complete into a folder; the configuration last, so that
    the folder is no project before it is whole.

    Args:
        made: its folder, on the same disk as `root`; gone afterwards.
        state: opens that of the folder.

    Raises:
        StateError: see `finish`.
    """
    os.replace(made, root / STATE_FOLDER / _PARTS)
    finish(root, state)


def finish(root: Path, state: Callable[[], Store]) -> None:
    """Move what a process that was killed has left.

    Args:
        state: opens that of the folder; called only where something is left.

    Raises:
        StateError: something that was put there meanwhile is in the way.
        AssayError: the state cannot be opened.
    """
    parts = root / STATE_FOLDER / _PARTS
    if not parts.exists():
        return
    with state().lock(_LOCK):  # two servers may come up at once
        if not parts.exists():
            return
        for part in sorted(parts.iterdir(), key=lambda part: part.name == CONFIG_FILE):
            if (root / part.name).exists():
                raise StateError(
                    f"{part.name} is in the way of a project that was created here and is still "
                    "to be moved to its place.",
                    where=str(root),
                    fix=f"Move it away, or remove {parts} to give that project up.",
                )
            os.replace(part, root / part.name)
        parts.rmdir()
