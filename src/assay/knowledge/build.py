"""Makes the next state of a knowledge base beside the present one.

A build copies the passages of unchanged documents, embeds those of new ones, indexes the new table
and only then lets the records point at it. Killed at any moment, it leaves the present state as it
was, and what it had finished (texts, vectors) is used by the next build, which also sweeps.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from assay.errors import NotFoundError, StateError, Step
from assay.knowledge import pins, records, retention
from assay.knowledge.chunk import Chunker, Page
from assay.knowledge.parse import UNFORMATTED, kind_of
from assay.knowledge.records import Build, Document
from assay.knowledge.settings import KnowledgeSettings
from assay.knowledge.shared_builds import bring_build, pack_build, tables_at, texts_at
from assay.knowledge.table import (
    IndexBrokenError,
    PassageRow,
    Tables,
    base_folder,
    batch,
    embedder_of,
    index,
)
from assay.models.embed import Vectors
from assay.progress import Progress
from assay.store import unnamed_objects
from assay.store.object_place import objects_of
from assay.store.store import Store

RETENTION = timedelta(days=30)
"""So long a state that was replaced can still be searched by its snapshot."""
_ALIKE = 0.999  # cosine; one model's on two machines differ by 1e-5
_COPIED_AT_ONCE = 8192

Content = tuple[str, str]
"""What a document is called and the sha256 of its bytes."""


class Encoder(Protocol):
    """What a build needs of an embedder (`assay.models.embed.Embedder`).

    Attributes:
        at_once: texts that it is given, and whose passages are written, together.
    """

    identity: str
    dimension: int
    at_once: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[len(texts), dimension], each of length 1."""

    def tokenizer_json(self) -> str:
        """Its tokenizer, without truncation and padding."""


Embedders = Callable[[str], Encoder]
"""Gives the embedder of a name."""


def check_vectors(table: Any, name: str, encoder: Encoder) -> None:
    """See that a table's vectors are an encoder's.

    Where a table does not say whose they are, one of its passages is embedded again.

    Args:
        name: what the encoder is asked for by.

    Raises:
        StateError: another model of that name has made them.
    """
    known = embedder_of(table)
    if known is None:
        rows = table.search().select(["indexed", "vector"]).limit(1).to_list()
        same = all(_alike(row["vector"], encoder.encode([row["indexed"]])[0]) for row in rows)
    else:
        same = known == encoder.identity
    if not same:
        raise StateError(
            "the stored vectors were made by a different model from the one that is now called "
            f"{name}.",
            fix=f"{Step.REBUILD} to compute all of them again, then restart "
            "every server that was already running.",
        )


def _alike(there: Sequence[float], now: Vectors) -> bool:
    """Whether two vectors of length 1 are those of one model, on whatever machine."""
    return len(there) == len(now) and float(np.dot(there, now)) > _ALIKE


class Builder:
    """Builds of one knowledge base; the caller holds its lock.

    Args:
        begun: the present one, read since the lock is held.
    """

    def __init__(self, store: Store, base: str, begun: Build) -> None:
        self.store, self.base, self.begun = store, base, begun
        self.tables = tables_at(base_folder(store, base))
        self.texts = texts_at(base_folder(store, base))

    def bring(self) -> None:
        """Let the present state be in the folder, as another server may have made it. What is lost
        is missed by who needs it, so that the rest can still be changed.

        Raises:
            ObjectsError: the bucket is out of reach, or has other bytes.
        """
        documents = records.documents_of(self.store, self.begun)
        with suppress(IndexBrokenError):
            bring_build(self.store, self.base, self.begun, documents)

    def is_lost(self, build: Build) -> bool:
        """Whether the table of a build is neither here nor in the bucket.

        Raises:
            ObjectsError: as `bring`.
        """
        with suppress(IndexBrokenError):
            bring_build(self.store, self.base, build)
        return build.table is not None and not self.tables.has(build.table)

    def build(
        self,
        documents: Iterable[Document],
        settings: KnowledgeSettings,
        encoder: Embedders,
        progress: Progress,
        *,
        without: Collection[Document] = (),
        anew: bool = False,
        pin: str | None = None,
    ) -> Build:
        """Make the state that has these documents, and let it be the present one.

        Args:
            documents: all of them; their texts are there. `passages` is filled in here.
            encoder: gives the `Encoder`; called only when something has to be embedded.
            without: documents as they were: no kept state and no file holds them so after.
            anew: nothing that was embedded before is taken over.
            pin: let the present one be as it is, and keep this one by a pin (`pins`).

        Raises:
            StateError: the embedder is another than the one that made the vectors that are there.
            IndexBrokenError: the text of a document is gone.
            ObjectsError: the bucket is out of reach, or no setting names it any more.
        """
        objects_of(self.store)
        by_path = {document.path: document for document in documents}
        snapshot = records.snapshot_of(settings, by_path.values())
        if by_path:
            self.bring()  # what has not changed is taken over from it
        made, archive = self._kept(snapshot), None
        if made is None or anew or self.is_lost(made):
            table, dimension = self._write(by_path, settings, encoder, progress, anew)
            passages = sum(document.passages for document in by_path.values())
            key = made.key if made is not None else None
            made = Build(key, snapshot, table, settings, dimension, passages)
            archive = pack_build(self.store, self.base, made, list(by_path.values()))
        if pin is not None:
            held = records.documents_of(self.store, made) or list(by_path.values())
            pins.pin(self.store, self.base, made, held, pin, archive=archive)
            self.sweep()
            return made
        self.begun = records.swap(
            self.store,
            self.base,
            made,
            list(by_path.values()),
            begun=self.begun.key,
            archive=archive,
            without=without,
        )
        self.sweep()
        return self.begun

    def sweep(self) -> None:
        """Remove what no kept state needs: old states, and what killed builds left."""
        retention.forget_old(self.store, self.base, RETENTION)
        for name in self._unneeded():
            self.tables.drop(name)
        self.texts.sweep(retention.contents_of(self.store, self.base))
        if self.store.bucket is not None:
            unnamed_objects.collect(self.store)

    def leftovers(self) -> int:
        """How many tables and texts no kept state needs."""
        contents = retention.contents_of(self.store, self.base)
        return len(self._unneeded()) + len(self.texts.others(contents))

    def _unneeded(self) -> list[str]:
        needed = retention.tables_of(self.store, self.base)
        return [name for name in self.tables.names() if name not in needed]

    def _kept(self, snapshot: str) -> Build | None:
        """An earlier state that was just so."""
        with suppress(NotFoundError):
            return records.build_of(self.store, self.base, snapshot)
        return None

    def _write(
        self,
        documents: dict[str, Document],
        settings: KnowledgeSettings,
        encoder: Embedders,
        progress: Progress,
        anew: bool,
    ) -> tuple[str | None, int]:
        """The name and the dimension of a new table; fills in the documents' passages."""
        made_so = _made_so(settings)
        wanted = {(d.path, d.sha256) for d in documents.values()}
        # The present table, those of earlier states, and what killed builds had finished.
        there = [] if anew else [n for n in self.tables.names() if n.startswith(made_so)]
        writer = self._taking_over(there, made_so, documents, wanted)
        new = sorted(wanted - writer.done)
        if new:
            with progress.task("loading the embedder", None, "models"):
                loaded = encoder(settings.embedder)
            self._embed(new, writer, settings, loaded, progress)
        for path, count in writer.passages.items():
            documents[path] = replace(documents[path], passages=count)
        if writer.table is None:
            return None, 0
        with progress.task("indexing", None, "passages"):
            index(writer.table, settings.language)
        return writer.name, writer.dimension

    def _taking_over(
        self,
        there: Iterable[str],
        made_so: str,
        documents: Mapping[str, Document],
        wanted: set[Content],
    ) -> _Writer:
        """A new table with what the tables that are there have of the wanted documents.

        One that turns out to be damaged may have given half of a document: begin again without it.
        """
        there = list(there)
        writer = _Writer(self.tables, f"{made_so}-{secrets.token_hex(6)}", documents)
        for name in there:
            if not wanted - writer.done:
                break
            try:
                writer.copy(self.tables.open(name), wanted - writer.done)
            except (IndexBrokenError, RuntimeError, OSError, ValueError):
                self.tables.drop(writer.name)
                others = [other for other in there if other != name]
                return self._taking_over(others, made_so, documents, wanted)
        return writer

    def _embed(
        self,
        contents: Sequence[Content],
        writer: _Writer,
        settings: KnowledgeSettings,
        encoder: Encoder,
        progress: Progress,
    ) -> None:
        if writer.table is None:
            writer.embedder = encoder.identity
        else:
            check_vectors(writer.table, settings.embedder, encoder)
        chunker = Chunker(encoder.tokenizer_json(), settings.chunk_tokens)
        with progress.task("embedding", len(contents), "documents") as task:
            rows: list[PassageRow] = []
            at_once = encoder.at_once
            for number, (path, sha256) in enumerate(contents, start=1):
                kind = kind_of(path)
                assert kind is not None
                pages = self.texts.get(sha256, kind).pages
                markdown = kind not in UNFORMATTED
                rows += _rows(chunker, writer.documents[path], pages, markdown)
                last = number == len(contents)
                while len(rows) >= at_once or (last and rows):
                    part, rows = rows[:at_once], rows[at_once:]
                    writer.add(batch(part, encoder.encode([row.indexed for row in part])))
                    task.advance(sum(1 / row.of for row in part))


class _Writer:
    """A new table, made when its first passages come."""

    def __init__(self, tables: Tables, name: str, documents: Mapping[str, Document]) -> None:
        self._tables = tables
        self.name, self.documents = name, documents
        self.table: Any = None
        self.embedder: str | None = None
        self.dimension = 0
        self.done: set[Content] = set()
        self.passages: Counter[str] = Counter()

    def add(self, rows: pa.Table) -> None:
        """Passages with their vectors."""
        if self.table is None:
            self.dimension = rows.schema.field("vector").type.list_size
            self.table = self._tables.create(self.name, self.dimension, self.embedder)
        self.table.add(rows)
        self.passages.update(rows.column("document").to_pylist())
        self.done.update(
            zip(rows.column("document").to_pylist(), rows.column("sha256").to_pylist(), strict=True)
        )

    def copy(self, table: Any, wanted: set[Content]) -> None:
        """The passages of wanted documents that a table has all of, with their present labels.

        Of another model's vectors than those that are here already, nothing is taken.
        """
        if self.table is None:
            self.embedder = embedder_of(table)
        elif embedder_of(table) != self.embedder:
            return
        counted: Counter[Content] = Counter()
        whole: dict[Content, int] = {}
        for part in table.search().select(["document", "sha256", "of"]).to_batches(65536):
            for document, sha256, of in zip(
                *(c.to_pylist() for c in part.columns[:3]), strict=True
            ):
                counted[document, sha256] += 1
                whole[document, sha256] = of
        take = {key for key in wanted if key in whole and counted[key] == whole[key]}
        waiting: list[pa.Table] = []
        for part in table.search().to_batches(4096) if take else ():
            rows = pa.table(part)
            keys = zip(rows["document"].to_pylist(), rows["sha256"].to_pylist(), strict=True)
            rows = rows.filter(pa.array([key in take for key in keys]))
            if rows.num_rows:
                waiting.append(self._labelled(rows))
            if sum(rows.num_rows for rows in waiting) >= _COPIED_AT_ONCE:
                self.add(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            self.add(pa.concat_tables(waiting))

    def _labelled(self, rows: pa.Table) -> pa.Table:
        labels = [list(self.documents[path].labels) for path in rows["document"].to_pylist()]
        place = rows.schema.get_field_index("labels")
        return rows.set_column(
            place, rows.schema.field(place), pa.array(labels, rows.schema.field(place).type)
        )


def _made_so(settings: KnowledgeSettings) -> str:
    """Begins the name of each table whose passages were made in the same way."""
    body = json.dumps(asdict(settings), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()[:12]


def _rows(
    chunker: Chunker, document: Document, pages: Sequence[Page], markdown: bool
) -> list[PassageRow]:
    chunks = chunker.chunks(document.path, pages, markdown=markdown)
    return [
        PassageRow(
            id=passage_id(document, number),
            document=document.path,
            sha256=document.sha256,
            ordinal=number,
            of=len(chunks),
            page=chunk.page,
            heading=chunk.heading,
            indexed=chunk.context + chunk.text,
            start=len(chunk.context),
            labels=document.labels,
        )
        for number, chunk in enumerate(chunks)
    ]


def passage_id(document: Document, ordinal: int) -> str:
    """The same as long as the document's name and content are."""
    body = f"{document.path}\0{document.sha256}\0{ordinal}"
    return hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()[:24]
