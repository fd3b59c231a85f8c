"""JSON files of a run that tell whether they are whole: a body, and its sha256 beside it.

write(path, {"key": key, "threads": 2})     # key: hash of all that the body depends on
body = read(path, key, progress)            # None: nothing is known of this run
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.errors import ModelError
from assay.example import json_sha256
from assay.progress import Progress
from assay.store.files import write_json


def write(path: Path, body: Mapping[str, Any]) -> None:
    """Put a body in the place of the one that is there."""
    write_json(path, {**body, "sha256": json_sha256(body)})


def read(path: Path, key: str, progress: Progress) -> dict[str, Any] | None:
    """The body that was written under a key; None where there is none, or it is damaged."""
    if not path.exists():
        return None
    try:
        body = read_whole(path)
    except ModelError as error:
        progress.say(f"{error} Its contents are computed again.")
        return None
    return body if body.get("key") == key else None


def read_whole(path: Path) -> dict[str, Any]:
    """The body of a file.

    Raises:
        ModelError: it is not there, or is not as it was written.
    """
    try:
        body: dict[str, Any] = json_reader.read(path.read_text("utf-8"))
        if body.pop("sha256") == json_sha256(body):
            return body
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        pass
    raise ModelError("this file is damaged.", where=str(path))
