"""The embedder of a search, trained on questions and the documents that answer them.

Documents are divided first: of those that are held out no question is trained on. Held out are all
that validation alone asks about, and where these are few, others that are drawn, until they answer
`HELD_OUT` of the validation rows. Their questions choose the epoch and tell what the training
brought: hit@k of the search by meaning before and after it.

The passage of a question is the one of its document in which the answer stands, else the most
similar one. Beside it stand those of other documents that the untrained embedder finds most
similar, and less so than `SURELY_LESS` of the right one: what is nearer may well answer, too
(Moreira et al. 2024, arXiv:2407.15831, section 3.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from assay.agent.agent import Knowledge
from assay.agent.passages import query_of
from assay.candidates.building import Context, LossPoint, Stopwatch, Trial, as_curve
from assay.candidates.shared.documents import (
    LEAST_NAMED,
    TunedSearch,
    index_documents,
    knowledge_section,
    search_quality,
    searched_documents,
)
from assay.data.normal import normalise
from assay.errors import DataError
from assay.evaluate.documents import documents_by_name
from assay.evaluate.retrieval import NDCG_DEPTH
from assay.example import Example
from assay.generate.nearest import round_likeness
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.search import IndexedPassage
from assay.models.embed import Embedder, SentenceModel, get_embedder
from assay.models.lineage import keep_rows
from assay.quantities import say_count
from assay.train.encoder.job import EncoderJob, EncoderSettings, learning_rate
from assay.train.encoder.objective import Objective
from assay.train.encoder.passages import Passages, PassageText, Question
from assay.train.encoder.session import EncoderResult, train_encoder

HELD_OUT = 0.3
HARD_NEGATIVES = 1
SURELY_LESS = 0.95
REFERENCE_RATE = 5e-5
"""The highest learning rate of the starter embedder."""
METRICS = ("hit@1", "hit@5", f"ndcg@{NDCG_DEPTH}")
_AT_ONCE = 256
"""Questions that are compared with all passages at once."""

RowDocuments = tuple[Example, frozenset[str]]
"""A row, and the names of the documents that it means."""


@dataclass(frozen=True, slots=True)
class Retriever:
    """A trained embedder, and the documents by its vectors.

    Attributes:
        train, held: what it was trained on, and rows about documents that were held out.
        tried: hit@k and nDCG on held-out documents, before and after.
        seconds: what the training and the new vectors took.
    """

    search: TunedSearch
    train: Sequence[RowDocuments]
    held: Sequence[RowDocuments]
    tried: tuple[Trial, ...]
    warnings: tuple[str, ...]
    curve: tuple[LossPoint, ...]
    best_step: int
    seconds: float


def tune_retriever(context: Context, epochs: int) -> Retriever:
    """Train the embedder of the project's documents, and embed them by it beside what is there.

    Raises:
        DataError: too few rows name a document, or all name the same few.
        ModelError: as `train_encoder`.
        KeyboardInterrupt: stopped by the user; the same call goes on from there.
    """
    indexed = index_documents(context)
    documents = searched_documents(context, indexed[0][1])
    train, held = split_by_document(
        list(_find_documents(context.answered, documents)),
        list(_find_documents(context.judged, documents)),
        seed=context.config.data.split.seed,
    )
    judged = tuple(row for row, _ in held)
    untrained = [
        (search_quality(context, by_meaning(context, base), judged), base) for _, base in indexed
    ]
    before, base = max(untrained, key=lambda one: one[0][METRICS[-1]])
    embedder = get_embedder(base.settings.embedder)
    passages = [p for p in base.indexed_passages() if p.document in documents]
    exact = context.config.task == "text"
    data = Passages(
        *(pair_with_passages(part, passages, embedder, exact=exact) for part in (train, held))
    )
    result = train_on(context, train, embedder, data, epochs, REFERENCE_RATE)
    watch = Stopwatch()
    copy = base.tuned_copy(result.name)
    base.copy_to(copy, replace(base.settings, embedder=result.name), context.progress)
    seconds = result.seconds + watch.seconds()
    after = search_quality(context, by_meaning(context, base, result.name), judged)
    return Retriever(
        TunedSearch(base, result.name, judged),
        train,
        held,
        before_and_after(judged, "by meaning", before, after),
        tuple(_warnings(before, after, base, copy, len(judged))),
        as_curve(result.points),
        result.best_step,
        seconds,
    )


def train_on(
    context: Context,
    rows: Sequence[RowDocuments],
    base: SentenceModel,
    objective: Objective[Any],
    epochs: int,
    rate: float,
) -> EncoderResult:
    """Train a model of the search, and keep it with the rows behind it; see `train_encoder`.

    Args:
        rate: the highest learning rate of a model as large as the starter embedder.
    """
    settings = EncoderSettings(
        epochs,
        learning_rate=learning_rate(base.parameters, rate),
        seed=context.config.fine_tune.seed,
    )
    kept = keep_rows(context.store, [row for row, _ in rows])
    job = EncoderJob(base, objective, settings, context.folder, context.progress, kept)
    return train_encoder(job, context.store)


def before_and_after(
    judged: Sequence[Example], how: str, before: dict[str, float], after: dict[str, float]
) -> tuple[Trial, ...]:
    """What a training has brought on held-out documents, by metric.

    Args:
        how: they were searched.
    """
    of = f"of {say_count(len(judged), 'question')} about held-out documents, {how}"
    return tuple(
        Trial(f"{name} {of}, {when} training", found[name], False)
        for name in METRICS
        for when, found in (("before", before), ("after", after))
    )


def warn_of_no_gain(
    kind: str, how: str, before: dict[str, float], after: dict[str, float], rows: int
) -> Iterator[str]:
    """The warning of a training that has brought nothing, see `before_and_after`."""
    name = METRICS[-1]
    if after[name] <= before[name]:
        yield (
            f"The trained {kind} does not find documents better than the untrained one: nDCG@10 "
            f"{how} is {after[name]:.3f} after training and {before[name]:.3f} before, on "
            f"{say_count(rows, 'question')} about documents that were held out."
        )


def split_by_document(
    train: Sequence[RowDocuments], validation: Sequence[RowDocuments], *, seed: int
) -> tuple[list[RowDocuments], list[RowDocuments]]:
    """Rows of train about documents that are not held out, rows of validation about held-out ones.

    Raises:
        DataError: there are fewer than `LEAST_NAMED` of either.
    """
    taught = {document for _, named in train for document in named}
    judged = {document for _, named in validation for document in named}
    held = judged - taught
    enough = max(LEAST_NAMED, HELD_OUT * len(validation))
    drawn = sorted(
        {named for _, named in validation if not named <= held},
        key=lambda named: hashlib.sha256(f"{seed} {sorted(named)}".encode()).digest(),
    )
    for named in drawn:
        if sum(row[1] <= held for row in validation) >= enough:
            break
        held |= named
    kept = [row for row in train if held.isdisjoint(row[1])]
    about_held = [row for row in validation if row[1] <= held]
    if min(len(kept), len(about_held)) < LEAST_NAMED:
        raise DataError(
            f"to train a search and to measure it on other documents takes {LEAST_NAMED} training "
            f"rows and {LEAST_NAMED} validation rows that name their document; there are "
            f"{len(kept)} and {len(about_held)}.",
            where="assay.yaml, candidates: rag-tuned",
            fix="Name the column that says which document answers a row (data.columns.document), "
            "add questions about more documents, or leave the candidate out.",
        )
    return kept, about_held


def pair_with_passages(
    rows: Sequence[RowDocuments],
    passages: Sequence[IndexedPassage],
    embedder: Embedder,
    *,
    exact: bool,
    negatives: int = HARD_NEGATIVES,
    below: float | None = SURELY_LESS,
    read: Callable[[IndexedPassage], str] = lambda passage: passage.text,
) -> list[Question]:
    """Questions of rows, each with the passage that answers it and its hard negatives.

    Args:
        passages: with the vectors of `embedder`.
        exact: whether a passage that holds the answer, word for word, goes before others.
        negatives: at most so many.
        below: how similar they may be, as a share of the right one's similarity; None: at will.
        read: the text of a passage, as the model that is trained reads it.
    """
    if not passages:  # of documents whose files are gone
        return []
    places: dict[str, list[int]] = {}
    for place, passage in enumerate(passages):
        places.setdefault(passage.document, []).append(place)
    spoken = [f" {normalise(passage.text)} " for passage in passages] if exact else []
    matrix = np.stack([passage.vector for passage in passages])
    found = []
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        vectors = embedder.encode([query_of(row) for row, _ in some])
        for (row, named), scores in zip(some, round_likeness(vectors @ matrix.T), strict=True):
            own = sorted(place for document in named for place in places.get(document, ()))
            if not own:
                continue  # a document without passages
            answers = [f" {normalise(text)} " for text in row.accepted if text.strip()]
            holding = [p for p in own if spoken and any(text in spoken[p] for text in answers)]
            best = max(holding or own, key=lambda place: (scores[place], -place))
            wrong = scores < (np.inf if below is None else below * scores[best])
            wrong[own] = False
            order = np.argsort(np.where(wrong, -scores, np.inf), kind="stable")[:negatives]
            right, *others = (
                PassageText(passages[place].document, read(passages[place]))
                for place in (best, *(place for place in order if wrong[place]))
            )
            found.append(
                Question(query_of(row), right, tuple(others), tuple(sorted(named)), row.weight)
            )
    return found


def _find_documents(rows: Sequence[Example], documents: set[str]) -> Iterator[RowDocuments]:
    """The rows that ask something and name a document that is there."""
    by_name = documents_by_name(documents)
    for row in rows:
        meant = by_name.get(row.document or "")
        if row.document and meant and query_of(row):
            yield row, frozenset(meant)


def by_meaning(context: Context, base: KnowledgeBase, embedder: str | None = None) -> Knowledge:
    """The search by meaning alone, of which a training is measured."""
    labels = knowledge_section(context).labels
    return Knowledge(
        name=base.name,
        embedder=embedder,
        k=1,
        mode="dense",
        labels=None if labels is None else tuple(labels),
        characters=1,
    )


def _warnings(
    before: dict[str, float],
    after: dict[str, float],
    base: KnowledgeBase,
    copy: KnowledgeBase,
    rows: int,
) -> Iterator[str]:
    yield from warn_of_no_gain("embedder", "by meaning", before, after, rows)
    missing = len(base.documents()) - len(copy.documents())
    if missing:
        lost = say_count(missing, "document is", "documents are")
        yield f"{lost} not searched: gone, or not readable any more."
