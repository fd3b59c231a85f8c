"""Settings of the candidates that train nothing, and how answers are generated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from assay.config.names import FileName, KnowledgeName, ModelName
from assay.config.strict import Strict

STARTER_EMBEDDER = "all-minilm-l6-v2"


class FewShot(Strict):
    """Numbers of shown examples that are tried on validation."""

    ks: list[Annotated[int, Field(ge=1)]] = Field(
        [1, 3, 8], min_length=1, description="Numbers of examples to try."
    )


class Classifier(Strict):
    """The candidate `classifier`, and what turns texts into vectors for it and for the others that
    learn from rows or look them up."""

    embedder: ModelName = Field(
        STARTER_EMBEDDER,
        description="Embedding model: a starter, a folder or a hub id of a text encoder. Also that "
        "of `encoder`, `encoder-pairs`, `nearest-answer`, `extract`, `extract-call` and "
        "`few-shot-nearest`.",
    )


SearchMode = Literal["bm25", "dense", "hybrid"]


class KnowledgeSection(Strict):
    """Documents that candidates search; how they are searched is chosen on validation."""

    name: KnowledgeName = Field(
        "documents", description="Name of the knowledge base in `assay knowledge`."
    )
    paths: list[FileName] = Field(
        default_factory=list,
        description="Files and folders to add before a comparison; documents of deleted files stay "
        "until they are removed.",
    )
    labels: list[str] | None = Field(
        None, min_length=1, description="Search only documents with one of these labels; null: all."
    )
    chunk_tokens: list[Annotated[int, Field(ge=16)]] = Field(
        default_factory=list,
        description="Passage lengths to try, in tokens; empty: the default one.",
    )
    modes: list[SearchMode] = Field(
        ["bm25", "dense", "hybrid"], min_length=1, description="Search modes to try."
    )
    weights: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.3, 0.5, 0.7],
        description="Weights of the vectors to try in hybrid search, besides fusion by rank, if at "
        "least ten validation rows name their document.",
    )
    rerank: ModelName | None = Field(
        None,
        description="Cross-encoder (folder or hub id) that reranks the best passages; tried if at "
        "least ten validation rows name their document. rag-tuned trains it.",
    )
    ks: list[Annotated[int, Field(ge=1, le=50)]] = Field(
        [1, 3, 5], min_length=1, description="Numbers of passages to try."
    )
    abstain: str | None = Field(
        None,
        min_length=1,
        description="The answer to give if no passage contains one; in the data, the target of "
        "rows that no document answers.",
    )
    distractors: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="fine-tune-rag: share of training rows whose own document is hidden.",
    )

    @field_validator("rerank")
    @classmethod
    def _is_not_trained_here(cls, name: str | None) -> str | None:
        # A holdout that was drawn since may have rows that it was trained on.
        if name is not None and name.startswith("tuned:"):
            raise ValueError("name the cross-encoder that it was trained from, and rag-tuned")
        return name


class PromptSearch(Strict):
    """How `prompt-optimised` and `prompt-reflected` look for a better system prompt."""

    proposer: ModelName | None = Field(
        None,
        description="Model that proposes edits, `remote:PROVIDER/MODEL`; null: fixed variants.",
    )
    proposals: int = Field(
        8, ge=1, le=100, description="Number of edits to request, one per request."
    )
    answers: int = Field(
        600,
        ge=50,
        le=100_000,
        description="prompt-reflected: maximum number of answers of the project's model.",
    )
    budget_usd: float | None = Field(
        None,
        gt=0,
        description="prompt-reflected: maximum cost of the proposer in USD; null: no limit.",
    )


MOST_ANSWER_TOKENS = 1_000_000
"""Of a model whose context is not known here; more than any writes."""


class Generate(Strict):
    """How answers are generated."""

    max_new_tokens: int = Field(
        128, ge=1, le=MOST_ANSWER_TOKENS, description="Maximum length of an answer, in tokens."
    )
    constrained: Literal["auto", "on", "off"] = Field(
        "auto", description="Constrained decoding; auto: chosen for each candidate on validation."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Number format of local models; auto: bfloat16 if it is fast on this machine.",
    )
