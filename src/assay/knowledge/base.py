"""A knowledge base: documents in, passages out.

    base = KnowledgeBase(store, "support", "manuals")
    base.add(["docs/"])
    [passages] = base.search(["How do I get a refund?"], k=3)

Searches read which build is present and search that one; additions and removals make another
build beside it. So a search never waits for a change, and never sees half of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from assay.errors import NotFoundError, StateError
from assay.knowledge import intake, pins, records
from assay.knowledge.build import Builder, Embedders, Encoder
from assay.knowledge.check import Check, check
from assay.knowledge.failures import FailedDocument, failures_of, note_failures
from assay.knowledge.intake import AddResult, RemoveResult, checked_labels, take_in
from assay.knowledge.lock import lock_of
from assay.knowledge.parse import kind_of
from assay.knowledge.reader import Reader
from assay.knowledge.records import Build, Document
from assay.knowledge.search import (
    POOL,
    IndexedPassage,
    Mode,
    Passage,
    Search,
    indexed_passages,
    passages_of,
    reordered,
)
from assay.knowledge.settings import KnowledgeSettings, same_settings
from assay.knowledge.sources import SourceFile, sources
from assay.knowledge.table import base_folder, erase
from assay.knowledge.texts import Texts
from assay.models.tuned_encoder import SCHEME, open_embedder, open_reranker
from assay.progress import SILENT, Progress
from assay.store import unnamed_objects
from assay.store.erasure import scrub
from assay.store.files import said_when_full
from assay.store.store import Store

Read = TypeVar("Read")


class KnowledgeBase:
    """The documents of an owner under a name; made by its first addition.

    Args:
        owner: the project it belongs to.
        embedders: gives the embedder of a name; None: as `open_embedder`.

    Raises:
        NotFoundError: by all that needs it to be there: there is no such knowledge base.
    """

    def __init__(
        self, store: Store, owner: str, name: str, *, embedders: Embedders | None = None
    ) -> None:
        self._store, self.owner, self.name = store, owner, name
        self._given_embedders = embedders
        self._held: dict[str, Any] = {}  # models: a trained one is there while it is in use
        self._reader = Reader(store)

    def create(self) -> None:
        """Make it, empty, unless it is there.

        Raises:
            UsageError: it cannot be called so.
        """
        records.make_base(self._store, self.owner, self.name)

    def add(
        self,
        paths: Iterable[str | Path | SourceFile],
        *,
        labels: Iterable[str] = (),
        settings: KnowledgeSettings | None = None,
        progress: Progress = SILENT,
    ) -> AddResult:
        """Add files, or all files below folders; a document of the same name is replaced.

        Args:
            paths: a `SourceFile` names a document otherwise than its file, or gives it labels.
            labels: of these documents, in place of those they had. Where one loses a label, no
                earlier state that held it is kept.
            settings: None is what the knowledge base has, or the defaults of a new one.

        Raises:
            StateError: the settings are others than those of what is there: a rebuild is needed.
            UsageError: a label or the name cannot be used.
        """
        wanted = checked_labels(labels)
        found, failed = sources(paths)
        base = records.make_base(self._store, self.owner, self.name)
        with self._locked(base, progress) as builder:
            present = records.present(self._store, base)
            had = None if present.key is None else present.settings
            settings = same_settings(self.name, had, settings)
            before = {d.path: d for d in records.documents_of(self._store, present)}
            given, unread = take_in(found, builder.texts, wanted, progress)
            failed += unread
            after = intake.merge(before, given)
            unchanged = sum(before.get(d.path) is after[d.path] for d in given)
            if after != before or builder.is_lost(present):
                # Earlier states, which agents search, would show it to who may not see it any more.
                narrowed = intake.find_lost_labels(before, after)
                for copy in self._copies() if narrowed else ():  # `copy_to` adds them again
                    copy.remove(intake.find_documents(copy.documents(), narrowed), progress)
                made = builder.build(
                    after.values(), settings, self._embedders, progress, without=narrowed
                )
                after = {d.path: d for d in records.documents_of(self._store, made)}
            note_failures(self._store, base, failed, [d.path for d in given])
        passages = sum(after[d.path].passages for d in given)
        return AddResult(len(given), passages, tuple(failed), unchanged)

    def remove(self, documents: Iterable[str], progress: Progress = SILENT) -> RemoveResult:
        """Erase documents, named as `documents` names them, or all below a folder.

        After it their text is nowhere in the state: not in vectors, BM25 or cached texts, not in
        copies (`copy_to`), and no earlier state that held them is kept; but for a comparison that
        has fixed them (`FixedBase`), until it is over.

        Raises:
            NotFoundError: there is no such knowledge base or document; nothing was removed.
        """
        base = records.base_id(self._store, self.owner, self.name)
        with self._locked(base, progress) as builder:
            builder.sweep()  # what a killed build left may hold what is to be gone
            present = records.present(self._store, base)
            there = {d.path: d for d in records.documents_of(self._store, present)}
            failed = [f.file for f in failures_of(self._store, base)]
            gone = intake.match_documents(documents, (*there, *failed), self.name)
            erased = [there[path] for path in sorted(gone) if path in there]
            kept = there.keys() - gone
            for copy in self._copies():  # first: killed before it is through, it is asked again
                copy.remove(intake.find_documents(copy.documents(), erased, kept), progress)
            left = [there[path] for path in kept]
            if erased:
                builder.build(left, present.settings, self._embedders, progress, without=erased)
            note_failures(self._store, base, (), gone)
            scrub(self._store)
            is_held = pins.holds(self._store, self.owner, self.name, erased)
        return RemoveResult(
            tuple(document.path for document in erased),
            len(left),
            frozenset(document.sha256 for document in erased),
            is_held,
        )

    def delete(self, progress: Progress = SILENT) -> None:
        """Erase all of it, with its copies and every state that is kept.

        Raises:
            StateError: a comparison that is not over searches it, or a copy; nothing was erased.
        """
        base = records.base_id(self._store, self.owner, self.name)
        with self._locked(base, progress) as builder:
            pins.refuse(self._store, self.owner, self.name)
            for copy in self._copies():
                copy.delete(progress)
            # First an empty state: a kill after it leaves no file that holds anything.
            builder.build((), self.settings, self._embedders, progress, without=self.documents())
            records.forget_base(self._store, base)
            scrub(self._store)
            erase(base_folder(self._store, base))
            if self._store.bucket is not None:
                unnamed_objects.collect(self._store)

    def sized_copy(self, tokens: int) -> KnowledgeBase:
        """The same documents in passages of another size, as `copy_to` has copied them."""
        return self._named(f"{self.name}{records.COPY}{tokens}")

    def tuned_copy(self, embedder: str) -> KnowledgeBase:
        """The same documents with vectors of a trained embedder (`tuned:BLOB`), see `copy_to`."""
        return self._named(f"{self.name}{records.COPY}t{embedder.removeprefix(SCHEME)[:12]}")

    def copy_to(
        self, copy: KnowledgeBase, settings: KnowledgeSettings, progress: Progress = SILENT
    ) -> None:
        """Let a copy hold these documents, under the same labels; the copy is made if need be.

        What is removed here is removed there. A removal that comes meanwhile waits.
        """
        base = records.base_id(self._store, self.owner, self.name)
        with self._locked(base, progress) as builder:
            builder.bring()
            copy.create()
            copy.hold(self.documents(), builder.texts, settings, progress)

    def hold(
        self,
        documents: Sequence[Document],
        texts: Texts,
        settings: KnowledgeSettings,
        progress: Progress,
    ) -> None:
        """Let this copy hold documents, and no others.

        Args:
            texts: of the documents, where they were read.
        """
        base = records.base_id(self._store, self.owner, self.name)
        there = records.documents_of(self._store, records.present(self._store, base))
        wanted = {document.path: document for document in documents}
        if gone := [document.path for document in there if document.path not in wanted]:
            self.remove(gone, progress)
        with self._locked(base, progress) as builder:
            for document in documents:
                builder.texts.take(texts, document.sha256, document.path)
            narrowed = intake.find_lost_labels({d.path: d for d in there}, wanted)
            snapshot = records.snapshot_of(settings, documents)
            if builder.begun.snapshot != snapshot or builder.is_lost(builder.begun):
                builder.build(documents, settings, self._embedders, progress, without=narrowed)

    def check(self, progress: Progress = SILENT) -> Check:
        """Compare it with the files it was made of, and read all of its index."""
        base = records.base_id(self._store, self.owner, self.name)
        with self._locked(base, progress) as builder:
            present = records.present(self._store, base)
            documents = records.documents_of(self._store, present)
            failed = failures_of(self._store, base)
            builder.bring()
            return check(builder, present, documents, failed, progress)

    def documents(self) -> list[Document]:
        """All of its documents, ordered by their names."""
        return records.documents_of(self._store, self._present())

    def failures(self) -> list[FailedDocument]:
        """Files that could not be added."""
        base = records.base_id(self._store, self.owner, self.name)
        return failures_of(self._store, base)

    def describe(self) -> dict[str, Any]:
        """Its name, counts, snapshot and settings, JSON-ready."""
        present = self._present()
        documents = records.documents_of(self._store, present)
        return {
            "name": self.name,
            "documents": len(documents),
            "passages": present.passages,
            "snapshot": pins.snapshot_of(present),
            **asdict(present.settings),
        }

    @property
    def snapshot(self) -> str:
        """Names the present state: a hash of documents and settings."""
        return pins.snapshot_of(self._present())

    def has_snapshot(self, snapshot: str) -> bool:
        """Whether a state is kept."""
        with suppress(NotFoundError):
            self._reader.state(records.base_id(self._store, self.owner, self.name), snapshot)
            return True
        return False

    @property
    def settings(self) -> KnowledgeSettings:
        """How its passages were made."""
        return self._present().settings

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        mode: Mode = "hybrid",
        weight: float | None = None,
        threshold: float | None = None,
        rerank: str | None = None,
        labels: frozenset[str] | None = None,
        seen: frozenset[str] | None = None,
        snapshot: str | None = None,
    ) -> list[list[Passage]]:
        """The passages of each query, best first; an empty list says that nothing is relevant.

        Args:
            k: how many at most.
            weight: of the vectors in mode hybrid, 0 to 1; None fuses by ranks.
            threshold: the least BM25 score in mode bm25, else the least cosine.
            rerank: a cross-encoder that orders the best ones anew; its scores are then theirs.
            labels: whose documents are looked at: those with at least one of them, chosen before
                ranking; None is all.
            seen: labels of whoever asks: documents with none of them are not there for them.
            snapshot: an earlier state; None is the present one.

        Raises:
            NotFoundError: there is no such knowledge base, or the snapshot is no longer kept.
            StateError: the embedder is another than the one the vectors are of.
        """
        search = Search(k, mode, weight, threshold, labels, seen)
        if rerank is None:
            return self._find(queries, search, snapshot)
        found = self._find(queries, replace(search, k=max(POOL, k)), snapshot)
        used = self._held["reranker"] = open_reranker(rerank, self._store)
        return [reordered(q, row, used.scores)[:k] for q, row in zip(queries, found, strict=True)]

    def rebuild(
        self, settings: KnowledgeSettings | None = None, progress: Progress = SILENT
    ) -> Build:
        """Cut, embed and index all documents anew, with other settings or after damage."""
        base = records.base_id(self._store, self.owner, self.name)
        with self._locked(base, progress) as builder:
            present = records.present(self._store, base)
            documents = records.documents_of(self._store, present)
            return builder.build(
                documents, settings or present.settings, self._embedders, progress, anew=True
            )

    def pages(self, document: str) -> list[str]:
        """The text that was read from a document, page by page.

        Raises:
            NotFoundError: there is no such knowledge base or document.
        """
        for pages in self.texts(lambda found: found.path == document):
            return pages
        raise NotFoundError(f"there is no document {document!r} in {self.name}.")

    def texts(self, wanted: Callable[[Document], bool] = lambda _: True) -> Iterator[list[str]]:
        """The text that was read from each document that is wanted, page by page."""
        base = records.base_id(self._store, self.owner, self.name)
        build = self._reader.state(base)
        builder = Builder(self._store, base, build)
        builder.bring()
        for found in filter(wanted, records.documents_of(self._store, build)):
            kind = kind_of(found.path)
            assert kind is not None  # it was read
            yield [page.text for page in builder.texts.get(found.sha256, kind).pages]

    def passages(self, document: str) -> list[Passage]:
        """What a document was cut into, in the order of its text; the scores say nothing."""
        return self._read(lambda table: passages_of(table, document))

    def indexed_passages(self) -> list[IndexedPassage]:
        """Every passage with its vector, ordered by document and place."""
        return self._read(indexed_passages)

    def _read(self, read: Callable[[Any], list[Read]]) -> list[Read]:
        base = records.base_id(self._store, self.owner, self.name)
        build = self._reader.state(base)
        return [] if build.table is None else read(self._reader.table(base, build))

    def _present(self) -> Build:
        return self._reader.state(records.base_id(self._store, self.owner, self.name))

    def _embedders(self, name: str) -> Encoder:
        if self._given_embedders is not None:
            return self._given_embedders(name)
        self._held["embedder"] = found = open_embedder(name, self._store)
        return found

    def _named(self, name: str) -> KnowledgeBase:
        return KnowledgeBase(self._store, self.owner, name, embedders=self._given_embedders)

    def _copies(self) -> Iterator[KnowledgeBase]:
        """The copies that are there; they have copies themselves."""
        for name in records.names(self._store, self.owner):
            if name.rpartition(records.COPY)[0] == self.name:
                given = self._given_embedders
                yield KnowledgeBase(self._store, self.owner, name, embedders=given)

    def _find(
        self, queries: Sequence[str], search: Search, snapshot: str | None
    ) -> list[list[Passage]]:
        base = records.base_id(self._store, self.owner, self.name)
        return self._reader.find(base, queries, search, snapshot, self._embedders)

    @contextmanager
    def _locked(self, base: str, progress: Progress) -> Iterator[Builder]:
        """One change at a time; whoever comes second waits."""
        folder = base_folder(self._store, base)
        said = f"{self.name} is being changed by another process; waiting for it."
        with (
            said_when_full(folder),  # LanceDB has its own words for it
            self._store.lock(lock_of(base), lambda: progress.say(said)),
        ):
            try:
                if records.base_id(self._store, self.owner, self.name) != base:
                    raise StateError(f"{self.name} was removed in the meantime.", fix="Try again.")
            except (NotFoundError, StateError):
                erase(folder)  # the lock has made it anew
                raise
            yield Builder(self._store, base, records.present(self._store, base))
