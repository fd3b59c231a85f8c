"""`rag-tuned`: as `rag`, by an embedder that was trained on which document answers which row.

Where `knowledge.rerank` names a cross-encoder, that is trained as well.
"""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent, Knowledge
from assay.candidates.building import Candidate, Context, as_trials
from assay.candidates.shared.documents import (
    available_characters,
    choose_search,
    knowledge_section,
)
from assay.candidates.spec import (
    DOCUMENTS,
    PASSAGE_TOKENS,
    CandidateSpec,
    Sizes,
    Workload,
    passage_runs,
    unshown_answer_tokens,
)
from assay.config import Config
from assay.errors import ConfigError
from assay.knowledge.search import POOL

MOST_EPOCHS = 4
ROWS_IN_ALL = 4_000
"""Rows that are trained on over all epochs, where one epoch has fewer."""
TEXTS_PER_ROW = 3
"""What a training row embeds: the question, its passage and a hard negative."""
PAIRS_PER_ROW = 5
"""What a cross-encoder reads of a training row: its passage and four hard negatives."""
READINGS = 4
"""Times that it reads what is found for the validation rows: before and after its training, to tell
what that brought, and to choose."""


def epochs(rows: int) -> int:
    """Of a training with so many rows; it may end sooner."""
    return max(1, min(MOST_EPOCHS, ROWS_IN_ALL // max(1, rows)))


def estimate(config: Config, sizes: Sizes) -> Workload:
    """As `rag`; a token that is trained on takes as long as three that are read. Once trained, it
    embeds all passages anew."""
    rows = epochs(sizes.train) * (3 * sizes.train + sizes.validation)
    question = min(sizes.input_tokens, sizes.document_embedder.limit)
    read = 0.0
    if config.knowledge is not None and config.knowledge.rerank is not None:
        pairs = PAIRS_PER_ROW * rows + READINGS * POOL * sizes.validation
        read = pairs * min(sizes.input_tokens + PASSAGE_TOKENS, sizes.reranker.limit)
    return replace(
        Workload(passage_runs(config, sizes), unshown_answer_tokens(config, sizes)),
        embedded_documents=rows * (question + (TEXTS_PER_ROW - 1) * PASSAGE_TOKENS)
        + sizes.passages * PASSAGE_TOKENS,
        reranked=read,
        tunes_search=True,
    )


SPEC = CandidateSpec(
    title="passages, tuned search",
    explanation="The embedder that finds passages of your documents is itself trained on which "
    "document answers which question; so is a cross-encoder, where one is named. Made in minutes; "
    "passages are put before the input.",
    family="training",
    estimate=estimate,
    needs=(DOCUMENTS,),
)


def build(context: Context) -> Candidate:
    """Train what finds the documents, then choose the search as `rag` does.

    It takes part even where the training brought nothing, and says so.
    """
    if set(knowledge_section(context).modes) == {"bm25"}:
        raise ConfigError(
            "rag-tuned trains the search by meaning, and only bm25 is to be tried.",
            where="assay.yaml, knowledge.modes",
            fix="Add dense or hybrid, or remove rag-tuned.",
        )
    from assay.candidates.shared.reranker import tune_reranker  # loads torch
    from assay.candidates.shared.retriever import tune_retriever

    times = epochs(len(context.answered))
    made = tune_reranker(context, tune_retriever(context, times), times)

    def agent_with(knowledge: Knowledge) -> Agent:
        return context.chat_agent(knowledge=knowledge)

    found = choose_search(context, agent_with, available_characters(context), made.search)
    chosen = context.choose_constraint(found.agent, found.measurement)
    return Candidate(
        agent=chosen.agent,
        tried=made.tried + as_trials(found.tried) + as_trials(chosen.tried),
        scores=tuple(chosen.measurement.primary_scores),
        setup_seconds=made.seconds,
        retrained=True,
        curve=made.curve,
        best_step=made.best_step,
        warnings=(*made.warnings, *found.warnings),
    )
