"""Whether a knowledge base holds the project's examples, whose answers would be looked up there.

    warning = warn_of_examples(workspace, "manuals")

It is told before the holdout is opened. A holdout that has a file of its own is not read for it: an
exact count of its rows would tell of any text whether it is one of them. Of the other files' rows
all are looked for together, and which part of the split one is in is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from assay.config import Columns
from assay.config.names import split_sheet
from assay.data.gather import address_of
from assay.data.read import detect, read
from assay.errors import AssayError, DataError
from assay.example import Example, json_sha256
from assay.project.knowledge import documents, row_search
from assay.project.knowledge.row_search import DocumentMatches, RowTexts
from assay.project.project import Project
from assay.project.recent_results import RecentResults
from assay.project.workspace import Workspace
from assay.store.files import stamp_of

MOST_ROWS = 20_000
"""Of a file, its first ones, that are looked at."""
_FOUND: RecentResults[tuple[Path, str, tuple[str, ...], str], DocumentMatches | str] = (
    RecentResults(4)
)
"""By the workspace's folder, the base's name, the hashes of its documents, and that of what was
looked for; of what is too much, what was wrong: an error would keep alive all that it came past."""

_INPUTS: RecentResults[tuple[object, ...], tuple[str, ...]] = RecentResults(4)
"""By the files of examples, their stamps, format and columns: a page asks again with every document
that is brought."""


def warn_of_examples(workspace: Workspace, name: str) -> str | None:
    """That documents hold the examples, or were not searched for them; None: neither, or there are
    no examples that can be read here.

    No error stops what it is told beside: documents that have been added stay so.
    """
    try:
        project = workspace.project
        inputs = _choose_inputs(project) if project is not None else ()
    except (AssayError, OSError):  # what is wrong with them is told where they are used
        return None
    if not inputs:
        return None
    sought = RowTexts(inputs, ())
    try:
        return row_search.describe_matches(sought, search_base(workspace, name, sought))
    except (AssayError, OSError) as error:
        return row_search.explain_unsearched(error)


def search_base(workspace: Workspace, name: str, texts: RowTexts) -> DocumentMatches:
    """As `row_search.search`, of the documents of a knowledge base; once, however often a page
    asks.

    Raises:
        DataError: they are too many or too long.
    """
    hashes = tuple(document.sha256 for document in documents.base(workspace, name).documents())
    key = workspace.root, name, hashes, json_sha256([texts.inputs, texts.answers])
    found = _FOUND.find(key, lambda: _search(workspace, name, len(hashes), texts))
    if isinstance(found, str):
        raise DataError(found)
    return found


def _search(workspace: Workspace, name: str, count: int, texts: RowTexts) -> DocumentMatches | str:
    try:
        row_search.check_count(count)
        return row_search.search(map("\n".join, documents.base(workspace, name).texts()), texts)
    except DataError as error:
        return error.what


def _choose_inputs(project: Project) -> tuple[str, ...]:
    """Inputs of the project's files that are on this machine, without a holdout's own."""
    data = project.config.data
    addresses = [address_of(project.root, name) for name in (data.file, data.validation) if name]
    files = [one for one in addresses if isinstance(one, Path) and split_sheet(one)[0].is_file()]
    stamps = tuple(stamp_of(split_sheet(one)[0]) for one in files)
    columns = None if data.columns is None else data.columns.model_dump_json()
    return _INPUTS.find(
        (tuple(files), stamps, data.format, columns),
        lambda: row_search.choose_inputs(_read_examples(files, data.format, data.columns)),
    )


def _read_examples(
    files: Sequence[Path], format: str | None, columns: Columns | None
) -> Iterator[Example]:
    """The first usable rows of each file."""
    for file in files:
        columns = columns or detect(file).columns  # those of the first are those of all
        for row in islice(read(file, format, columns), MOST_ROWS):
            if row.example is not None:
                yield row.example
