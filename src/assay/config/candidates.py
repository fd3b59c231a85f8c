"""Settings of the candidates that train nothing, and how answers are generated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from assay.config.names import FileName, ModelName
from assay.config.strict import Strict

STARTER_EMBEDDER = "all-minilm-l6-v2"


class FewShot(Strict):
    """Numbers of shown examples that are tried on validation."""

    ks: list[Annotated[int, Field(ge=1)]] = Field([1, 3, 8], min_length=1)


class Classifier(Strict):
    """The candidate `classifier`: what turns texts into the vectors it learns from."""

    embedder: ModelName = Field(
        STARTER_EMBEDDER,
        description="a starter, a folder, or a hub id of a sentence-transformers model",
    )


SearchMode = Literal["bm25", "dense", "hybrid"]


class KnowledgeSection(Strict):
    """Documents that candidates look into; how they are searched is chosen on validation."""

    name: str = Field("documents", description="of the knowledge, as `assay knowledge` knows it")
    paths: list[FileName] = Field(
        default_factory=list,
        description="files and folders, added before a comparison; those gone since stay until "
        "they are removed",
    )
    labels: list[str] | None = Field(
        None, min_length=1, description="search only documents with one of these; null: all"
    )
    chunk_tokens: list[Annotated[int, Field(ge=16)]] = Field(
        default_factory=list, description="sizes of passages that are tried; empty: the usual one"
    )
    modes: list[SearchMode] = Field(
        ["bm25", "dense", "hybrid"], min_length=1, description="kinds of search that are tried"
    )
    weights: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.3, 0.5, 0.7],
        description="of meaning in a hybrid search, tried beside fusion by ranks where at least "
        "ten validation rows name their document",
    )
    rerank: ModelName | None = Field(
        None,
        description="a cross-encoder (folder or hub id) that orders the best passages anew; tried "
        "where at least ten validation rows name their document",
    )
    ks: list[Annotated[int, Field(ge=1, le=50)]] = Field(
        [1, 3, 5], min_length=1, description="numbers of passages that are tried"
    )
    abstain: str | None = Field(
        None,
        min_length=1,
        description="what is to be said where no passage holds the answer; in the data, the "
        "target of rows that no document answers",
    )
    distractors: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="fine-tune-rag: share of training rows whose own document is hidden",
    )


class PromptSearch(Strict):
    """How `prompt-optimised` and `prompt-reflected` look for a better system prompt."""

    proposer: ModelName | None = Field(
        None, description="`remote:PROVIDER/MODEL` that proposes edits; null: fixed variants only"
    )
    proposals: int = Field(8, ge=1, le=100, description="edits asked for, one request each")
    answers: int = Field(
        600, ge=50, le=100_000, description="prompt-reflected: most answers of the project's model"
    )
    budget_usd: float | None = Field(
        None, gt=0, description="prompt-reflected: most that the proposer may cost; null: no limit"
    )


class Generate(Strict):
    """How answers are generated."""

    max_new_tokens: int = Field(128, ge=1)
    constrained: Literal["auto", "on", "off"] = Field(
        "auto", description="auto: chosen on validation per candidate"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of local models; auto: bfloat16 where this machine is fast at it"
    )
