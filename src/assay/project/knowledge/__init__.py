"""Knowledge bases of a folder: what the command line calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay import json_reader
from assay.errors import UsageError
from assay.knowledge import records
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.intake import AddResult
from assay.knowledge.records import Build
from assay.progress import Progress
from assay.project.knowledge import documents
from assay.project.workspace import Workspace, open_workspace


def knowledge(folder: str | Path, name: str) -> KnowledgeBase:
    """A knowledge base of a folder that has state.

    Raises:
        UsageError: the folder has none.
    """
    return documents.base(open_workspace(folder), name)


def knowledge_bases(folder: str | Path) -> list[KnowledgeBase]:
    """All of a folder, by name.

    Raises:
        UsageError: the folder has no state.
    """
    workspace = open_workspace(folder)
    return [
        documents.base(workspace, name) for name in records.names(workspace.store, workspace.name)
    ]


def add(
    folder: str | Path,
    name: str,
    paths: Sequence[str | Path],
    *,
    labels: Sequence[str] = (),
    embedder: str | None = None,
    chunk_tokens: int | None = None,
    language: str | None = None,
    progress: Progress,
) -> AddResult:
    """Add files to a knowledge base, which is made where it is missing, as is the folder's state.

    Args:
        embedder, chunk_tokens, language: see `KnowledgeSettings`; None keeps what is there.

    Raises:
        StateError: other settings than those of what is there.
    """
    base = documents.base(Workspace(Path(folder)), name)
    base.create()
    settings = documents.changed(base.settings, embedder, chunk_tokens, language)
    return base.add(paths, labels=labels, settings=settings, progress=progress)


def rebuild(
    folder: str | Path,
    name: str,
    *,
    embedder: str | None = None,
    chunk_tokens: int | None = None,
    language: str | None = None,
    progress: Progress,
) -> Build:
    """Make all passages anew, with other settings where they are given."""
    return documents.rebuild(
        open_workspace(folder),
        name,
        embedder=embedder,
        chunk_tokens=chunk_tokens,
        language=language,
        progress=progress,
    )


def read_queries(file: Path) -> list[str]:
    """The queries of a file of JSON lines, {"query": "..."} each.

    Raises:
        UsageError: it cannot be read, or a line is no query.
    """
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"the queries cannot be read ({reason}).", where=str(file)) from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            query = json_reader.read(line)["query"]
        except (ValueError, TypeError, KeyError):
            query = None
        if not isinstance(query, str):
            raise UsageError(
                "this is no query.",
                where=f"{file}, line {number}",
                fix='Write one a line: {"query": "How do I get a refund?"}',
            )
        found.append(query)
    return found
