"""Which files a user means: a file, or all files below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from assay.knowledge.failures import FailedDocument

LONGEST_NAME = 1000
"""Characters of the name by which a file, or why it failed, is kept."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, and what the document it becomes is called.

    Attributes:
        document: its name in the knowledge base; its suffix tells the format.
        file: where its bytes are now.
        labels: None is those of the whole addition.
        origin: the file whose bytes these were, where they were copied.
    """

    document: str
    file: Path
    labels: tuple[str, ...] | None = None
    origin: Path | None = None


def sources(
    paths: Iterable[str | Path | SourceFile],
) -> tuple[list[SourceFile], list[FailedDocument]]:
    """The files, each once, folders walked in the order of names; and what is not there.

    Hidden files and folders are passed over. A link in a folder is followed only to a file inside
    of it, so that a folder that came from elsewhere shows nothing but itself.
    """
    found: dict[str, SourceFile] = {}
    failed: list[FailedDocument] = []
    for path in paths:
        for one in _below(path):
            if isinstance(one, FailedDocument):
                failed.append(one)
            else:
                found.setdefault(one.document, one)
    return list(found.values()), failed


def _below(path: str | Path | SourceFile) -> Iterator[SourceFile | FailedDocument]:
    if isinstance(path, SourceFile):
        yield path
        return
    root = Path(path)
    if not root.is_dir():
        if root.exists():
            yield _named(root)
        else:
            yield FailedDocument(str(root), "there is no such file or folder.")
        return
    inside = root.resolve()
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if name.startswith("."):
                continue
            if file.is_symlink() and not _leads_inside(file, inside):
                yield FailedDocument(str(file), "it is a link to no file of the folder.")
            else:
                yield _named(file)


def _leads_inside(link: Path, folder: Path) -> bool:
    """Whether a link leads to a file of the folder that is not hidden in it."""
    try:
        file = link.resolve(strict=True)
    except (OSError, RuntimeError):  # to nothing, in a circle, too long, or where nobody may enter
        return False
    if not file.is_relative_to(folder):
        return False
    return not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _named(file: Path) -> SourceFile | FailedDocument:
    name = str(file)
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="backslashreplace").decode()
        return FailedDocument(shown, "its name is not valid UTF-8.")
    if len(name) > LONGEST_NAME:
        return FailedDocument(
            name[:LONGEST_NAME], f"its path is longer than {LONGEST_NAME} characters."
        )
    return SourceFile(name, Path(os.path.abspath(file)))
