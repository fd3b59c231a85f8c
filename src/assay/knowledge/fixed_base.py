"""A knowledge base as a comparison searches it: what others change meanwhile is not seen.

    base = FixedBase(store, "support", "manuals", pin)
    base.keep()             # when it is requested
    base.fix(files)         # when it begins, and whenever it goes on
    pins.unpin(store, pin)  # when it is over

Where others have changed the documents since the comparison was requested, its state is made beside
theirs. Its copies for other settings then have two states, too: the documents that the comparison
searches, and of them those that everybody may still find.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from assay.knowledge import intake, pins, records
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.build import Builder, Embedders
from assay.knowledge.failures import FailedDocument, note_failures
from assay.knowledge.reader import Reader
from assay.knowledge.records import Document
from assay.knowledge.settings import KnowledgeSettings
from assay.knowledge.sources import SourceFile
from assay.knowledge.texts import Texts
from assay.progress import SILENT, Progress
from assay.store.store import Store


class FixedBase(KnowledgeBase):
    """What is read is what the pin keeps; before there is anything, the present state.

    Args:
        pin: of the comparison, see `pins`.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        name: str,
        pin: str,
        *,
        embedders: Embedders | None = None,
    ) -> None:
        super().__init__(store, owner, name, embedders=embedders)
        self._pin = pin
        self._reader = Reader(store, pin)

    def keep(self) -> None:
        """Keep the present state, to which `fix` will add files."""
        base = records.make_base(self._store, self.owner, self.name)
        pins.keep(self._store, base, self._pin)

    def is_fixed(self) -> bool:
        """Whether `fix` has been done."""
        base = records.make_base(self._store, self.owner, self.name)
        kept = pins.pinned(self._store, base, self._pin)
        return kept is not None and pins.is_whole(kept)

    def fix(
        self, files: Iterable[SourceFile], progress: Progress = SILENT
    ) -> tuple[FailedDocument, ...]:
        """Let the state be whole that the comparison searches; one that is stays as it is.

        Args:
            files: that are added first, under the labels that their documents have; also for
                everybody else, if nobody has changed the documents since `keep`.

        Returns:
            files of which nothing, or only a part, was added.
        """
        base = records.make_base(self._store, self.owner, self.name)
        with self._locked(base, progress) as builder:
            kept, present = pins.pinned(self._store, base, self._pin), builder.begun
            if kept is not None and pins.is_whole(kept):
                return ()
            begun = kept or present
            before = {d.path: d for d in records.documents_of(self._store, begun)}
            labels = {path: document.labels for path, document in before.items()}
            labelled = [replace(one, labels=labels.get(one.document, ())) for one in files]
            given, failed = intake.take_in(labelled, builder.texts, (), progress)
            after = list(intake.merge(before, given).values())
            if pins.snapshot_of(begun) != present.snapshot:
                builder = Builder(self._store, base, begun)
                made = builder.build(
                    after, begun.settings, self._embedders, progress, pin=self._pin
                )
                shown = {d.path: d for d in records.documents_of(self._store, present)}
                if all(_is_shown(document, shown.get(document.path)) for document in after):
                    records.add_earlier(self._store, base, made, self.documents())
                return tuple(failed)
            if after != list(before.values()) or builder.is_lost(present):
                present = builder.build(after, begun.settings, self._embedders, progress)
            documents = records.documents_of(self._store, present)
            pins.pin(self._store, base, present, documents, self._pin)
            note_failures(self._store, base, failed, [document.path for document in given])
        return tuple(failed)

    def fix_snapshot(self, snapshot: str) -> None:
        """Let an earlier state be kept as well, which a saved agent was measured on; one that was
        given up is no more."""
        base = records.base_id(self._store, self.owner, self.name)
        pins.keep(self._store, base, self._pin, snapshot)

    def copy_to(
        self, copy: KnowledgeBase, settings: KnowledgeSettings, progress: Progress = SILENT
    ) -> None:
        """As that of every knowledge base; the copy keeps the documents of the pin, and shows to
        others those that are still shown here."""
        assert isinstance(copy, FixedBase)
        base = records.base_id(self._store, self.owner, self.name)
        with self._locked(base, progress) as builder:
            shown = builder.begun
            build = self._reader.state(base)
            documents = records.documents_of(self._store, build)
            copy.create()
            if copy._is_fixed(documents, settings):
                return
            builder = Builder(self._store, base, build)
            builder.bring()
            present = {d.path: d for d in records.documents_of(self._store, shown)}
            copy.hold(_shown(documents, present), builder.texts, settings, progress)
            copy._fix_documents(documents, builder.texts, settings, progress)

    def _is_fixed(self, documents: Sequence[Document], settings: KnowledgeSettings) -> bool:
        base = records.base_id(self._store, self.owner, self.name)
        found = pins.pinned(self._store, base, self._pin)
        wanted = records.snapshot_of(settings, documents)
        return found is not None and pins.snapshot_of(found) == wanted

    def _fix_documents(
        self,
        documents: Sequence[Document],
        texts: Texts,
        settings: KnowledgeSettings,
        progress: Progress,
    ) -> None:
        base = records.base_id(self._store, self.owner, self.name)
        with self._locked(base, progress) as builder:
            for document in documents:
                builder.texts.take(texts, document.sha256, document.path)
            builder.build(documents, settings, self._embedders, progress, pin=self._pin)

    def _named(self, name: str) -> KnowledgeBase:
        given = self._given_embedders
        return FixedBase(self._store, self.owner, name, self._pin, embedders=given)


def _is_shown(document: Document, present: Document | None) -> bool:
    """Whether everybody may find a document just as it is in a state."""
    return present is not None and (document.sha256, document.labels) == (
        present.sha256,
        present.labels,
    )


def _shown(documents: Iterable[Document], present: dict[str, Document]) -> list[Document]:
    """Those of a state's documents that everybody may find: they are still there, and have lost no
    label since."""
    documents = list(documents)
    places = {document.location for document in present.values()}
    hidden = intake.find_lost_labels({d.path: d for d in documents}, present)
    return [
        document
        for document in documents
        if (document.path in present or document.location in places) and document not in hidden
    ]
