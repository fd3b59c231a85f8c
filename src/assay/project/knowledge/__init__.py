"""Files of the command line for knowledge bases; `documents` has the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.config import Place
from assay.data.formats.json_records import read_lines
from assay.errors import DataError
from assay.knowledge.intake import AddResult
from assay.place.opening import workers_of
from assay.progress import Progress
from assay.project.knowledge import documents
from assay.project.knowledge.example_search import warn_of_examples
from assay.project.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DocumentAddition:
    """What came of files that were added.

    Attributes:
        warning: that the knowledge base holds the project's examples, or that it was not searched
            for them.
    """

    added: AddResult
    warning: str | None

    def to_dict(self) -> dict[str, Any]:
        return {**self.added.to_dict(), "warning": self.warning}


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
) -> DocumentAddition:
    """Add files to a knowledge base, which is made where it is missing, as is the folder's state.

    Args:
        embedder, chunk_tokens, language: see `KnowledgeSettings`; None keeps what is there.
        place: where they are embedded; None: in this process.

    Raises:
        StateError: other settings than those of what is there.
    """
    with workers_of(place or Place(), progress) as workers:
        workspace = Workspace(Path(folder))
        base = documents.base(workspace, name, workers)
        base.create()
        settings = documents.merge_settings(base.settings, embedder, chunk_tokens, language)
        added = base.add(paths, labels=labels, settings=settings, progress=progress)
    return DocumentAddition(added, warn_of_examples(workspace, name))


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
