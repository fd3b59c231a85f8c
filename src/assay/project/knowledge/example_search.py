"""Whether a knowledge base holds the project's examples, whose answers would be looked up there.

    warning = warn_of_examples(workspace, "manuals")

It is told before the holdout is opened. Rows of all files are looked for together, and which part
of the split one is in is not looked at: counts of the whole are all that is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

from assay.config.names import split_sheet
from assay.data.gather import address_of, list_files
from assay.data.read import detect, read
from assay.errors import AssayError, DataError
from assay.example import Example
from assay.project.knowledge import documents, row_search
from assay.project.knowledge.row_search import DocumentMatches, RowTexts
from assay.project.project import Project
from assay.project.workspace import Workspace

MOST_ROWS = 20_000
"""Of a file, its first ones, that are looked at."""


def warn_of_examples(workspace: Workspace, name: str) -> str | None:
    """That documents hold the examples, or were not searched for them; None: neither, or there are
    no examples that can be read here."""
    try:
        project = workspace.project
        inputs = row_search.choose_inputs(_read_examples(project)) if project is not None else ()
    except AssayError:  # what is wrong with them is told where they are used
        return None
    if not inputs:
        return None
    sought = RowTexts(inputs, ())
    try:
        return row_search.warn_of_examples(sought, search_base(workspace, name, sought))
    except AssayError as error:
        return row_search.explain_unsearched(error)


def search_base(workspace: Workspace, name: str, texts: RowTexts) -> DocumentMatches:
    """As `row_search.search`, of the documents of a knowledge base.

    Raises:
        DataError: they are too many or too long.
    """
    hashes = tuple(document.sha256 for document in documents.base(workspace, name).documents())
    found = _search_once(_Documents(workspace.root, name, hashes, workspace), texts)
    if isinstance(found, DataError):
        raise found
    return found


@dataclass(frozen=True, slots=True)
class _Documents:
    """Documents at one state, in which the same is found whenever it is looked for.

    Attributes:
        root: of the workspace, of which each reader has one of its own.
        hashes: of the bytes of each, SHA-256.
    """

    root: Path
    name: str
    hashes: tuple[str, ...]
    workspace: Workspace = field(compare=False)


@lru_cache(maxsize=4)
def _search_once(opened: _Documents, texts: RowTexts) -> DocumentMatches | DataError:
    """Once, however often a page asks. What is too much is looked at once, too."""
    try:
        row_search.check_count(len(opened.hashes))
        whole = documents.base(opened.workspace, opened.name).texts()
        return row_search.search(map("\n".join, whole), texts)
    except DataError as error:
        return error


def _read_examples(project: Project) -> Iterator[Example]:
    """The first usable rows of each of the project's files that are on this machine."""
    data = project.config.data
    addresses = [address_of(project.root, name) for name in list_files(project.config)]
    columns = data.columns
    for address in addresses:
        if isinstance(address, str) or not split_sheet(address)[0].is_file():
            continue
        columns = columns or detect(address).columns  # those of the first are those of all
        for row in islice(read(address, data.format, columns), MOST_ROWS):
            if row.example is not None:
                yield row.example
