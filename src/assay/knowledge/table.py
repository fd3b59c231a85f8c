"""The passages of one build in LanceDB: vectors and BM25 in one table, written once.

Nothing is deleted from a table, since LanceDB's delete does not erase: a build without a document
is a new table, and the folder of the old one is removed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.errors import AssayError, Step, first_line
from assay.models.embed import Vectors
from assay.store.store import Store

_SCALARS = ("id", "document", "sha256", "ordinal", "of", "page", "heading", "indexed", "start")
FOLDER = "knowledge"
SUFFIX = ".lance"
_REMOVED = "removed-"
"""Begins the name of what is being removed."""
_TRIES = 20


class IndexBrokenError(AssayError):
    """A table cannot be read; it is gone, or was damaged."""


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage as it is kept.

    Attributes:
        ordinal: its place in the document, from 0; `of` is how many the document has, by which
            one that was cut short by a kill is known.
        indexed: what is embedded and what BM25 sees: title and headings, then the text, which
            begins at `start`.
    """

    id: str
    document: str
    sha256: str
    ordinal: int
    of: int
    page: int | None
    heading: str | None
    indexed: str
    start: int
    labels: tuple[str, ...]


_EMBEDDER = b"assay.embedder"


def schema(dimension: int, embedder: str | None = None) -> pa.Schema:
    """Of a table whose vectors have `dimension` numbers.

    Args:
        embedder: the identity of what makes them, kept with the table.
    """
    metadata = None if embedder is None else {_EMBEDDER: embedder.encode()}
    return pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("document", pa.string()),
            pa.field("sha256", pa.string()),
            pa.field("ordinal", pa.int32()),
            pa.field("of", pa.int32()),
            pa.field("page", pa.int32()),
            pa.field("heading", pa.string()),
            pa.field("indexed", pa.string()),
            pa.field("start", pa.int32()),
            pa.field("labels", pa.list_(pa.string())),
            pa.field("vector", pa.list_(pa.float32(), dimension)),
        ],
        metadata=metadata,
    )


def embedder_of(table: Any) -> str | None:
    """The identity of what made a table's vectors; None: it was made before that was kept."""
    found = (table.schema.metadata or {}).get(_EMBEDDER)
    return None if found is None else found.decode()


def batch(rows: Sequence[PassageRow], vectors: Vectors) -> pa.Table:
    """Rows and their vectors [len(rows), dimension] as they are kept."""
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in _SCALARS}
    columns["labels"] = [list(row.labels) for row in rows]
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return pa.table(columns, schema=schema(vectors.shape[1]))


def base_folder(store: Store, base: str) -> Path:
    """Where the files of a knowledge base are, by its id."""
    return store.folder / FOLDER / base


class Tables:
    """The tables of one knowledge base, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _connect(self) -> Any:
        import lancedb  # takes a moment

        return lancedb.connect(self.folder)

    def create(self, name: str, dimension: int, embedder: str | None) -> Any:
        """An empty table to add to; see `schema`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._connect().create_table(name, schema=schema(dimension, embedder))

    def open(self, name: str) -> Any:
        """A table to search.

        Raises:
            IndexBrokenError: it is not there, or cannot be read.
        """
        try:
            return self._connect().open_table(name)
        except (ValueError, RuntimeError, OSError) as error:
            raise self.broken(name, error) from None

    def broken(self, name: str, error: Exception) -> IndexBrokenError:
        """What is said of a table that cannot be read."""
        return IndexBrokenError(
            f"its index cannot be read ({first_line(error)[:200]}).",
            where=str(self.path(name)),
            fix=f"{Step.REBUILD} to create it again from the documents' texts.",
        )

    def names(self) -> list[str]:
        """Of all tables there are, whole or not."""
        return sorted(path.name[: -len(SUFFIX)] for path in self.folder.glob("*" + SUFFIX))

    def path(self, name: str) -> Path:
        """The folder that a table is, or would be."""
        return self.folder / (name + SUFFIX)

    def has(self, name: str) -> bool:
        """Whether there is a table of that name, whole or not."""
        return self.path(name).exists()

    def files(self, name: str) -> Iterator[Path]:
        """All files of a table."""
        return (path for path in self.path(name).rglob("*") if path.is_file())

    def drop(self, name: str) -> None:
        """Remove a table's folder with all that is in it, see `erase`.

        It is renamed first: who opens a table while its files go one by one may find its first
        version, which has no passages. What a kill leaves is among `names`.
        """
        removed = self.path(f"{_REMOVED}{secrets.token_hex(8)}")
        with suppress(OSError):  # it is gone already, or `erase` says what is wrong
            os.rename(self.path(name), removed)
        for folder in (removed, self.path(name)):
            erase(folder)


def erase(folder: Path) -> None:
    """Remove a folder that may be gone already.

    Raises:
        AssayError: it cannot be removed.
    """
    for last in (*[False] * _TRIES, True):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if not folder.exists():
                return
            # Somebody removes it at the same moment, or has put the file of a lock into it.
            if last or error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise AssayError(
                    f"files that are no longer needed cannot be removed ({error.strerror}).",
                    where=str(error.filename or folder),
                    fix="Fix the cause, then run the same command again.",
                ) from None
        else:
            return


def index(table: Any, language: str) -> None:
    """Make BM25 ready; returns when every row is in it."""
    from lancedb.index import FTS

    table.create_index(
        "indexed",
        config=FTS(language=language, stem=True, remove_stop_words=True),
        wait_timeout=timedelta(hours=1),
    )
