"""Documents: how they are searched is chosen on validation.

In this order, so that few settings are answered by the model:

1. Size of passages and mode. Where at least ten validation rows name their document, by nDCG@10 of
   the search alone, which costs no answers, so that weights of a hybrid search are tried, too; else
   by the answers, at the middle k. Of equals the one that comes first. A cross-encoder, if there is
   one, is tried on the winner, by nDCG@10 too, as it is and as it was trained.
2. k, by the answers. A tie goes to the smaller one, which costs fewer tokens on every request.
3. Where rows say that no document answers them: the score from which on a passage is relevant, by
   how well it tells best passages of the right document from others; taken if answers get better.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from assay.agent.agent import Agent, Knowledge
from assay.candidates.building import Context
from assay.config import Config, KnowledgeSection, SearchMode
from assay.config.names import file_of
from assay.errors import AssayError, ConfigError, DataError, Step
from assay.evaluate.documents import best_threshold, same_document, scores_of_search
from assay.evaluate.measure import Measurement
from assay.evaluate.retrieval import NDCG_DEPTH
from assay.example import Example
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.failures import FailedDocument
from assay.knowledge.fixed_base import FixedBase
from assay.knowledge.search import Passage
from assay.knowledge.sources import SourceFile, sources
from assay.models.load import load_tokenizer
from assay.quantities import say_count

LEAST_NAMED = 10
"""Validation rows that must name their document for the search to be chosen by them."""
_DEEP = 50
"""Passages looked at to find ten documents."""
_SPARE = 0.9
"""Share of the estimated room that is used: texts differ in how many tokens a character costs."""

AgentWith = Callable[[Knowledge], Agent]


@dataclass(frozen=True, slots=True)
class SearchChoice:
    """The search that was best on validation.

    Attributes:
        tried: every setting: (name, score, whether it was chosen).
    """

    knowledge: Knowledge
    agent: Agent
    measurement: Measurement
    tried: tuple[tuple[str, float, bool], ...]
    warnings: tuple[str, ...] = ()


def knowledge_section(context: Context) -> KnowledgeSection:
    """The project's `knowledge`, which candidates with the need `DOCUMENTS` have."""
    found = context.config.knowledge
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class TunedSearch:
    """Documents that are searched by a trained embedder.

    Attributes:
        base: whose passages they are; `base.tuned_copy(embedder)` is there and holds them.
        embedder: `tuned:BLOB`.
        judged: validation rows that tell how well it finds: of documents whose questions it has
            not seen; at least `LEAST_NAMED`.
        reranker: `tuned:BLOB`, the project's cross-encoder as it was trained; None: it was not.
    """

    base: KnowledgeBase
    embedder: str
    judged: tuple[Example, ...]
    reranker: str | None = None


def choose_search(
    context: Context, agent_with: AgentWith, characters: int, tuned: TunedSearch | None = None
) -> SearchChoice:
    """Choose how the project's documents are searched, on validation.

    Args:
        agent_with: the agent that is given passages so.
        characters: see `Knowledge.characters`.
        tuned: search these, by meaning or both ways; None: those of the project, in every way.

    Raises:
        AssayError: there are no documents, or no setting could be measured.
    """
    settings = knowledge_section(context)
    ks = sorted(set(settings.ks))
    if tuned is None:
        named = [example for example in context.validation if example.document and example.liked]
        modes, embedder, indexed = settings.modes, None, index_documents(context)
    else:
        named = list(tuned.judged)
        modes = [mode for mode in settings.modes if mode != "bm25"]  # which sees no vectors
        embedder, indexed = tuned.embedder, [("", tuned.base)]
    searches: list[tuple[SearchMode, float | None]] = [(mode, None) for mode in modes]
    if "hybrid" in modes and len(named) >= LEAST_NAMED:
        searches += [("hybrid", weight) for weight in settings.weights]
    starts = [
        (words, knowledge)
        for words, base in indexed
        for knowledge in (
            Knowledge(
                name=base.name,
                snapshot=(base if embedder is None else base.tuned_copy(embedder)).snapshot,
                embedder=embedder,
                k=ks[(len(ks) - 1) // 2],
                mode=mode,
                weight=weight,
                labels=None if settings.labels is None else tuple(settings.labels),
                characters=characters,
                abstain=settings.abstain,
            )
            for mode, weight in searches
        )
    ]
    tried: list[tuple[str, float, bool]] = []
    if len(starts) == 1:
        start = starts[0][1]
    else:
        if len(named) >= LEAST_NAMED:
            scores = [_ndcg(context, knowledge, named) for _, knowledge in starts]
            what = "nDCG@10 of the search"
        else:
            attempts = [context.attempt(agent_with(knowledge)) for _, knowledge in starts]
            scores = [0.0 if one is None else one.score for one in attempts]
            what = f"k={starts[0][1].k}"
        best = max(range(len(starts)), key=lambda i: (scores[i], -i))
        start = starts[best][1]
        tried = [
            (f"{words}{_search_text(knowledge)}, {what}", score, i == best)
            for i, ((words, knowledge), score) in enumerate(zip(starts, scores, strict=True))
        ]
    if settings.rerank is not None and len(named) >= LEAST_NAMED:
        rerankers = {settings.rerank: settings.rerank}
        if tuned is not None and tuned.reranker is not None:
            rerankers[tuned.reranker] = f"{settings.rerank}, trained"
        start, found_so = _with_reranker(context, start, rerankers, named)
        tried += found_so
    found = _choose_k(context, agent_with, start, ks)
    return _with_threshold(context, agent_with, found, tuple(tried))


def _with_reranker(
    context: Context, start: Knowledge, rerankers: dict[str, str], named: Sequence[Example]
) -> tuple[Knowledge, list[tuple[str, float, bool]]]:
    """Let a cross-encoder order what is found, where the search gets better by it.

    Args:
        rerankers: what each is called, by its name; a tie goes to the one that comes first.
    """
    searches = [start, *(start.model_copy(update={"rerank": name}) for name in rerankers)]
    scores = [_ndcg(context, knowledge, named) for knowledge in searches]
    best = searches[scores.index(max(scores))]
    tried = [
        (f"reranked by {words}, nDCG@10 of the search", score, name == best.rerank)
        for (name, words), score in zip(rerankers.items(), scores[1:], strict=True)
    ]
    return best, tried


def _search_text(knowledge: Knowledge) -> str:
    weighed = "" if knowledge.weight is None else f", {knowledge.weight:g} by meaning"
    return f"{knowledge.mode}{weighed}"


def index_documents(context: Context) -> list[tuple[str, KnowledgeBase]]:
    """Index the project's documents in passages of each size; new files of `paths` are added.

    Another size than the knowledge itself has is kept as knowledge of its own
    (`KnowledgeBase.sized_copy`), with the same documents under the same labels.

    Returns:
        (words for the size, knowledge), one or several.

    Raises:
        ConfigError: a path is not there.
        DataError: there are no documents.
    """
    settings = knowledge_section(context)
    base = add_documents(context)
    if not settings.chunk_tokens:
        return [("", base)]
    found = []
    for size in settings.chunk_tokens:
        sized = base
        if size != base.settings.chunk_tokens:
            sized = base.sized_copy(size)
            settings_of = replace(base.settings, chunk_tokens=size)
            base.copy_to(sized, settings_of, context.progress)
        found.append((f"{size} tokens, ", sized))
    return found


def add_documents(context: Context) -> KnowledgeBase:
    """The project's knowledge base, with new files of `paths` added; in a comparison once, by
    whoever needs it first.

    Raises:
        ConfigError: a path is not there.
        DataError: there are no documents.
    """
    settings, bench = knowledge_section(context), context.bench
    base = bench.knowledge_base(settings.name)
    if isinstance(base, FixedBase):
        if not base.is_fixed():
            _say_failures(context, base.fix(_files(context), context.progress))
    else:
        base.create()
        labels = {document.path: document.labels for document in base.documents()}
        files = [replace(one, labels=labels.get(one.document, ())) for one in _files(context)]
        _say_failures(context, base.add(files, progress=context.progress).failed)
    if not base.documents():
        raise DataError(
            f"the knowledge base {settings.name!r} has no documents.",
            fix=f"Set their folder in knowledge.paths, or {Step.ADD_KNOWLEDGE.of(settings.name)}.",
        )
    return base


def searched_documents(context: Context, base: KnowledgeBase) -> set[str]:
    """The names of the documents that may be used, as `knowledge.labels` says."""
    labels = knowledge_section(context).labels
    return {
        document.path
        for document in base.documents()
        if labels is None or not set(labels).isdisjoint(document.labels)
    }


def _files(context: Context) -> Sequence[SourceFile]:
    """The files of the project's paths, as they are or as they were copied."""
    if context.bench.document_files is not None:
        return context.bench.document_files
    section = knowledge_section(context)
    found, failed = document_files(section, context.bench.root, required=True)
    _say_failures(context, failed)
    return found


def document_files(
    section: KnowledgeSection, root: Path, *, required: bool
) -> tuple[list[SourceFile], list[FailedDocument]]:
    """The files of `paths`, named relative to the project's folder, and what cannot be read.

    Raises:
        ConfigError: a path is not there that is required.
    """
    paths = [file_of(path, root) for path in section.paths]
    for path, file in zip(section.paths, paths, strict=True):
        if required and not file.exists():
            raise ConfigError(
                f"{path} does not exist.",
                where="assay.yaml, knowledge.paths",
                fix="Use a file or folder that exists, relative to the project's folder.",
            )
    found, failed = sources(paths)
    return [SourceFile(os.path.relpath(s.document, root), s.file) for s in found], failed


def _say_failures(context: Context, failed: Iterable[FailedDocument]) -> None:
    for one in failed:
        context.progress.say(f"Not added: {one.file}: {one.reason}")


def available_characters(context: Context) -> int:
    """Characters that prompt, conversation and passages may have together in the model's context.

    How many characters a token holds is counted on the inputs of train.
    """
    texts = [example.input for example in context.train[:200]]
    return available_characters_of(context.config, texts)


def available_characters_of(config: Config, texts: Sequence[str]) -> int:
    """`available_characters` with tokens counted on `texts`, or else on the system prompt."""
    tokenizer, limit = load_tokenizer(config.model)
    texts = texts or [config.system_prompt]
    spelled = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    tokens = sum(map(len, spelled))
    each = sum(map(len, texts)) / tokens if tokens else 1.0
    left = limit - config.generate.max_new_tokens
    return max(1, int(_SPARE * left * each))


def search_quality(
    context: Context, knowledge: Knowledge, named: Sequence[Example]
) -> dict[str, float]:
    """The mean of each metric of `retrieval_scores` over rows that name their document."""
    deep = knowledge.model_copy(update={"k": _DEEP})
    found = context.bench.find_passages(deep, named)
    scores = scores_of_search([example.document or "" for example in named], found)
    return {name: fmean(values) for name, values in scores.items()}


def _ndcg(context: Context, knowledge: Knowledge, named: Sequence[Example]) -> float:
    return search_quality(context, knowledge, named)[f"ndcg@{NDCG_DEPTH}"]


def _choose_k(
    context: Context, agent_with: AgentWith, start: Knowledge, ks: Sequence[int]
) -> SearchChoice:
    results: list[tuple[Knowledge, Measurement]] = []
    warnings: list[str] = []
    for k in ks:
        knowledge = start.model_copy(update={"k": k})
        measured = context.attempt(agent_with(knowledge))
        if measured is None:
            were = say_count(k, "passage was", "passages were")
            warnings.append(f"{were} left out: every request was refused.")
        else:
            results.append((knowledge, measured))
    if not results:
        raise AssayError(
            f"none of the numbers of passages could be measured. {' '.join(warnings)}",
            fix="Use smaller numbers in knowledge.ks, or a model with a longer context.",
        )
    best, measured = max(results, key=lambda row: (row[1].score, -row[0].k))
    return SearchChoice(
        best,
        agent_with(best),
        measured,
        tuple((f"{_search_text(k)}, k={k.k}", m.score, k.k == best.k) for k, m in results),
        tuple(warnings),
    )


def _with_threshold(
    context: Context,
    agent_with: AgentWith,
    found: SearchChoice,
    before: tuple[tuple[str, float, bool], ...],
) -> SearchChoice:
    """Add a relevance threshold where rows allow one and answers get better by it."""
    threshold = relevance_threshold(context, found.knowledge)
    tried = (*before, *found.tried)
    if threshold is None:
        return replace(found, tried=tried)
    knowledge = found.knowledge.model_copy(update={"threshold": threshold})
    agent = agent_with(knowledge)
    measured = context.attempt(agent)
    score = 0.0 if measured is None else measured.score
    wins = score > found.measurement.score
    tried = (*tried, (f"only passages from {threshold:.3g} on", score, wins))
    if measured is None or not wins:
        return replace(found, tried=tried)
    return replace(found, knowledge=knowledge, agent=agent, measurement=measured, tried=tried)


def relevance_threshold(context: Context, knowledge: Knowledge) -> float | None:
    """The score of a best passage that tells right documents from wrong ones on validation.

    None where no row says that nothing answers it, or scores do not tell.
    """
    rows = [e for e in context.validation if e.document is not None and e.liked]
    if all(example.document for example in rows):
        return None
    # A threshold of a hybrid search is one of the cosine, which the search by meaning tells.
    mode = "bm25" if knowledge.mode == "bm25" else "dense"
    first = knowledge.model_copy(update={"k": 1, "threshold": None, "mode": mode, "rerank": None})
    found = context.bench.find_passages(first, rows)
    relevant: list[float] = []
    irrelevant: list[float] = []
    for example, row in zip(rows, found, strict=True):
        if row:
            (relevant if _right(example, row[0]) else irrelevant).append(row[0].score)
    return best_threshold(relevant, irrelevant)


def _right(example: Example, passage: Passage) -> bool:
    return bool(example.document) and same_document(example.document or "", passage.document)
