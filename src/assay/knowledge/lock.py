"""One change of a knowledge base at a time, on whichever machine."""

from __future__ import annotations

from assay.knowledge.table import FOLDER


def lock_of(base: str) -> str:
    """Held while a knowledge base is being changed."""
    return f"{FOLDER}/{base}/build.lock"
