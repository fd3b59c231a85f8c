"""The documents that a version learns token by token, and those that are kept out to measure it.

Secrets and personal data are masked: what weights have learned cannot be taken out of them again.
A text that several documents hold is learned once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from assay.candidates.building import Context
from assay.candidates.shared.documents import add_documents, searched_documents
from assay.config import CONFIG_FILE
from assay.data.privacy import mask_within
from assay.errors import ConfigError, DataError
from assay.evaluate.documents import documents_by_name
from assay.example import json_sha256
from assay.knowledge.records import Document
from assay.quantities import say_count
from assay.train.documents import TextDocument
from assay.train.sequences import Unit, rows_of

HELD_OUT = 0.1
"""Share of the documents that validation is."""
LEAST_TOKENS = 500
"""To be learned; fewer belong into a prompt."""


@dataclass(frozen=True, slots=True)
class TrainingDocuments:
    """What is learned, and whole documents that are not: their loss chooses the epoch.

    Attributes:
        files: the sha256 (hex) of each file whose text is in `train`.
    """

    train: tuple[TextDocument, ...]
    held: tuple[TextDocument, ...]
    files: frozenset[str]

    @property
    def sha256(self) -> str:
        """Names all texts, and which of them are kept out (hex)."""
        return json_sha256([[one.text for one in part] for part in (self.train, self.held)])

    def describe(self) -> str:
        """How many there are of each, as a sentence."""
        count = len(self.held)
        return (
            f"{count} of {count + len(self.train)} documents {'is' if count == 1 else 'are'} kept "
            "out of the training, to measure it."
        )


def training_documents(context: Context) -> TrainingDocuments:
    """The documents of the project's knowledge base, with new files of `knowledge.paths`.

    Raises:
        ConfigError: there is no `knowledge`, or a path of it is not there.
        DataError: there are not two documents with a text of their own.
    """
    if context.config.knowledge is None:
        raise ConfigError(
            "method: text learns the documents of `knowledge`, and there is no `knowledge`.",
            where=f"{CONFIG_FILE}, fine_tune.method",
            fix="Add `knowledge: {paths: [knowledge]}`, or choose another method.",
        )
    found = _read(context)
    if len(found) < 2:
        raise DataError(
            f"there {'is one document' if found else 'are no documents'} to learn; training on "
            "documents takes two or more, because one is kept out to measure it.",
            where=f"{CONFIG_FILE}, knowledge",
            fix="Add more documents, or divide the one into several files.",
        )
    order = sorted(found, key=lambda one: _drawn(one, context.config.data.split.seed))
    held = order[: max(1, round(HELD_OUT * len(found)))]
    out = {*held}
    learned = tuple(one for one in found if one not in out)
    files = frozenset(file for one in learned for file in found[one])
    parts = TrainingDocuments(learned, tuple(held), files)
    context.progress.say(parts.describe())
    return parts


def about_kept_out(context: Context) -> str:
    """What a reader of a comparison has to know of the documents that are not learned."""
    documents = training_documents(context)
    named = [example.document for example in context.judged if example.document]
    held = documents_by_name(one.name for one in documents.held)
    asked = sum(name in held for name in named)
    said = documents.describe()
    if named:
        name = say_count(len(named), "validation row that names", "validation rows that name")
        said += f" {asked} of {name} a document {'asks' if asked == 1 else 'ask'} about these."
    return said


def check_tokens(units: Sequence[Unit], documents: TrainingDocuments) -> None:
    """Refuse a training on next to nothing.

    Raises:
        DataError: there is too little text.
    """
    tokens = sum(row.trained_tokens for row in rows_of(units))
    if tokens < LEAST_TOKENS:
        raise DataError(
            f"{say_count(len(documents.train), 'document has', 'documents have')} "
            f"{say_count(tokens, 'token')} to learn, too few for a training (at least "
            f"{LEAST_TOKENS}).",
            where=f"{CONFIG_FILE}, knowledge",
            fix="Add more documents, or put this text into the system prompt.",
        )


def _read(context: Context) -> dict[TextDocument, list[str]]:
    """Each text once, with the sha256 of all files that hold it."""
    base = add_documents(context)
    wanted = searched_documents(context, base)
    holders: list[Document] = []  # of the texts as they come

    def is_wanted(document: Document) -> bool:
        holders.append(document)
        return document.path in wanted

    texts: dict[str, TextDocument] = {}
    files: dict[TextDocument, list[str]] = {}
    masked, documents = 0, 0
    for pages in base.texts(is_wanted):
        text, private = mask_within("\n\n".join(pages), inside=0)
        masked, documents = masked + len(private), documents + bool(private)
        one = texts.setdefault(text, TextDocument(holders[-1].path, text))
        files.setdefault(one, []).append(holders[-1].sha256)
    if masked:
        context.progress.say(
            f"Secrets and personal data are not learned: masked in "
            f"{say_count(documents, 'document')}, {masked} in all."
        )
    return files


def _drawn(document: TextDocument, seed: int) -> str:
    """Decides by the text and the seed alone who is kept out."""
    return hashlib.sha256(f"{seed} {document.text}".encode()).hexdigest()
