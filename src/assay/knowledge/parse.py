"""Files in, pages of text out; what cannot be read is named with its reason and stops nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.knowledge.chunk import Page
from assay.progress import Task


@dataclass(frozen=True, slots=True)
class Parsed:
    """What came of a file: pages, or the reason why there are none."""

    sha256: str
    bytes: int
    pages: tuple[Page, ...] = ()
    reason: str | None = None


def parse(files: Sequence[tuple[str, Path]], known: object, task: Task) -> Iterator[Parsed]:
    """One result a file, in order."""
    import hashlib

    for name, path in files:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if path.suffix in (".md", ".txt"):
            pages: tuple[Page, ...] = (Page(None, data.decode("utf-8", "replace")),)
        else:
            import kreuzberg

            config = kreuzberg.ExtractionConfig(use_cache=False)
            pages = (Page(None, kreuzberg.extract_file_sync(path, config=config).content),)
        task.advance()
        yield Parsed(digest, len(data), pages)
