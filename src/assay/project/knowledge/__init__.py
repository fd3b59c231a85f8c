"""Files of the command line for knowledge bases; `documents` has the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.config import Place
from assay.data.formats.json_records import read_lines
from assay.errors import DataError
from assay.knowledge.intake import AddResult
from assay.place.opening import workers_of
from assay.progress import Progress
from assay.project.knowledge import documents
from assay.project.workspace import Workspace


def add(
    folder: str | Path,
    name: str,
    paths: Sequence[str | Path],
    *,
    labels: Sequence[str] = (),
    embedder: str | None = None,
    chunk_tokens: int | None = None,
    language: str | None = None,
    place: Place | None = None,
    progress: Progress,
) -> AddResult:
    """Add files to a knowledge base, which is made where it is missing, as is the folder's state.

    Args:
        embedder, chunk_tokens, language: see `KnowledgeSettings`; None keeps what is there.
        place: where they are embedded; None: in this process.

    Raises:
        StateError: other settings than those of what is there.
    """
    with workers_of(place or Place(), progress) as workers:
        base = documents.base(Workspace(Path(folder)), name, workers)
        base.create()
        settings = documents.merge_settings(base.settings, embedder, chunk_tokens, language)
        return base.add(paths, labels=labels, settings=settings, progress=progress)


def read_queries(file: Path) -> list[str]:
    """The queries of a file of JSON lines, {"query": "..."} each.

    Raises:
        DataError: it cannot be read, or a line is no query.
    """
    found = []
    for raw in read_lines(file, str(file), "utf-8-sig"):
        query = None if raw.problems else raw.value.get("query")
        if not isinstance(query, str):
            raise DataError(
                "this is not a query.",
                where=f"{file}, line {raw.line}",
                fix='Write one query per line: {"query": "How do I get a refund?"}',
            )
        found.append(query)
    return found
