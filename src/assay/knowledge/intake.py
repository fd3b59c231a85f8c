"""Files become documents whose texts are kept; what cannot be read is named and stops nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.errors import NotFoundError, Step, UsageError
from assay.knowledge.failures import FailedDocument
from assay.knowledge.parse import Limits, Parser, UnreadableError, kind_of, load
from assay.knowledge.records import Document
from assay.knowledge.sources import SourceFile
from assay.knowledge.texts import Texts
from assay.progress import Progress
from assay.store.tables import now


@dataclass(frozen=True, slots=True)
class AddResult:
    """What an addition came to.

    Attributes:
        documents: of the files given, how many are in the knowledge base now; `unchanged` of them
            were so before.
        passages: of these documents.
        failed: the files that are not, each with the reason.
    """

    documents: int
    passages: int
    failed: tuple[FailedDocument, ...]
    unchanged: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "passages": self.passages,
            "unchanged": self.unchanged,
            "failed": [{"file": f.file, "reason": f.reason} for f in self.failed],
        }


@dataclass(frozen=True, slots=True)
class RemoveResult:
    """What a removal came to: the names of the documents that are gone, how many are left, and the
    sha256 (hex) of the files that those that are gone were read from.

    Attributes:
        is_held: a comparison that is not over keeps some of them until it is.
    """

    documents: tuple[str, ...]
    left: int
    files: frozenset[str]
    is_held: bool = False


class LabelError(UsageError):
    """No document can have such a label."""


def checked_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Each once, sorted.

    Raises:
        LabelError: one is empty or too long.
    """
    found = tuple(sorted(set(labels)))
    for label in found:
        if not label.strip() or len(label) > 200 or "\0" in label:
            raise LabelError(
                f"{label!r:.60} cannot be used as a label.", fix="Use up to 200 characters."
            )
    return found


def take_in(
    found: Sequence[SourceFile],
    texts: Texts,
    labels: tuple[str, ...],
    progress: Progress,
    limits: Limits | None = None,
) -> tuple[list[Document], list[FailedDocument]]:
    """Read each file unless its content was read before.

    Returns:
        The documents, whose texts are kept and whose passages are not counted yet; and every file
        that gave none, or only a part.
    """
    documents: list[Document] = []
    failed: list[FailedDocument] = []
    moment = now()
    with (
        progress.task("reading", len(found), "files") as task,
        Parser(limits) as parser,
    ):
        for source in found:
            try:
                data = load(source.document, source.file, parser.limits)
                content = hashlib.sha256(data).hexdigest()
                kind = kind_of(source.document)
                assert kind is not None
                if not texts.has(content, kind):
                    texts.put(content, kind, parser.parse(source.document, data))
                parsed = texts.get(content, kind)
                numbers = [page.number for page in parsed.pages if page.number is not None]
                documents.append(
                    Document(
                        path=source.document,
                        sha256=content,
                        bytes=len(data),
                        pages=len(numbers) or None,
                        passages=0,
                        labels=labels if source.labels is None else checked_labels(source.labels),
                        added_at=moment,
                        location=str(source.origin or source.file),
                    )
                )
                if parsed.skipped:
                    left_out = "; ".join(f"{name}: {why}" for name, why in parsed.skipped)
                    failed.append(
                        FailedDocument(source.document, f"attachments left out: {left_out}")
                    )
            except UnreadableError as error:
                failed.append(FailedDocument(source.document, str(error)))
            task.advance()
    return documents, failed


def merge(before: Mapping[str, Document], given: Iterable[Document]) -> dict[str, Document]:
    """All documents, by path, once some are added; those that have not changed are as they were."""
    given = list(given)
    # A file that was added by another path is the same document, under its new name.
    moved = {d.location for d in given if os.path.abspath(d.path) == d.location}
    after = {p: d for p, d in before.items() if d.location not in moved}
    for document in given:
        known = before.get(document.path)
        after[document.path] = document if known is None or not same(known, document) else known
    return after


def same(before: Document, after: Document) -> bool:
    """Whether nothing of a document has changed that a search could show."""
    return replace(after, passages=before.passages, added_at=before.added_at) == before


def match_documents(names: Iterable[str], known: Collection[str], base: str) -> set[str]:
    """The names of the documents that have one of these names, or are below a folder that has.

    Args:
        known: the names of all documents.
        base: the name of their knowledge base.

    Raises:
        UsageError: a name is empty.
        NotFoundError: no document has one of the names.
    """
    found: set[str] = set()
    for name in names:
        if not name.strip("/"):
            raise UsageError(
                "no document was given.", fix=f"{Step.LIST_KNOWLEDGE} to see the documents."
            )
        folder = name.rstrip("/") + "/"
        matched = {path for path in known if path == name or path.startswith(folder)}
        if not matched:
            raise NotFoundError(
                f"there is no document {name!r} in {base}.",
                fix=f"{Step.LIST_KNOWLEDGE} to see the documents.",
            )
        found |= matched
    return found


def find_documents(
    documents: Iterable[Document], wanted: Collection[Document], kept: Collection[str] = ()
) -> list[str]:
    """The names of those documents that have the name or the file of a wanted one.

    A copy of a knowledge base may still have a document under an earlier name.

    Args:
        kept: names that are not looked for by their file: another document has them now.
    """
    names, files = {d.path for d in wanted}, {d.location for d in wanted}
    return [
        d.path for d in documents if d.path in names or (d.location in files and d.path not in kept)
    ]


def find_lost_labels(
    before: Mapping[str, Document], after: Mapping[str, Document]
) -> list[Document]:
    """Documents that lose a label by a change, as they were; both by path."""
    placed = {document.location: document for document in after.values()}
    return [
        document
        for path, document in before.items()
        if set(document.labels)
        - set((after.get(path) or placed.get(document.location) or document).labels)
    ]
