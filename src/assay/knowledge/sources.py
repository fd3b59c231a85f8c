"""Which files a user means: a file, or all files below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from assay.knowledge.records import Failed


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and what the document it becomes is called.

    Attributes:
        document: its name in the knowledge base; its suffix tells the format.
        file: where its bytes are now.
    """

    document: str
    file: Path


def sources(paths: Iterable[str | Path | Source]) -> tuple[list[Source], list[Failed]]:
    """The files, each once, folders walked in the order of names; and what is not there.

    Hidden files and folders are passed over. A link in a folder is followed only to a file inside
    of it, so that a folder that came from elsewhere shows nothing but itself.
    """
    found: dict[str, Source] = {}
    failed: list[Failed] = []
    for path in paths:
        for one in _below(path):
            if isinstance(one, Failed):
                failed.append(one)
            else:
                found.setdefault(one.document, one)
    return list(found.values()), failed


def _below(path: str | Path | Source) -> Iterator[Source | Failed]:
    if isinstance(path, Source):
        yield path
        return
    root = Path(path)
    if not root.is_dir():
        if root.exists():
            yield Source(str(root), root.absolute())
        else:
            yield Failed(str(root), "there is no such file or folder.")
        return
    inside = root.resolve()
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if name.startswith("."):
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(inside):
                yield Failed(str(file), "it is a link that leads out of the folder.")
            else:
                yield Source(str(file), file.absolute())
