"""assay.yaml as it could be used last: what a server starts with when the file is broken since.

Every use of a project's state keeps the text; the command line never falls back on it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from assay import json_reader
from assay.config import CONFIG_FILE
from assay.store.store import Store
from assay.store.tables import now

_KEPT = f"last good {CONFIG_FILE}"


@dataclass(frozen=True, slots=True)
class LastGood:
    """A text that could be used.

    Attributes:
        at: when it was used for the first time (ISO 8601, UTC).
    """

    text: str
    at: str


def keep(store: Store, text: str) -> None:
    """Remember a text that was checked and can be used."""
    if (known := last_good(store)) is None or known.text != text:
        store.set(_KEPT, json.dumps({"text": text, "at": now().isoformat()}))


def last_good(store: Store) -> LastGood | None:
    """The text that was kept last; None where none was."""
    kept = store.setting(_KEPT)
    return None if kept is None else LastGood(**json_reader.read(kept))
