"""What encoders take in a comparison: products and bytes, and the speed of products here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from assay.agent.passages import knowledge_base
from assay.candidates.registry import specs, taking_part
from assay.candidates.spec import PASSAGE_TOKENS, Sizes, Workload
from assay.config import Config
from assay.errors import NotFoundError
from assay.knowledge.settings import KnowledgeSettings
from assay.models.encoder_size import EncoderSize, encoder_size
from assay.models.products import products
from assay.progress import Progress
from assay.store.store import Store

EMBED_SHARE = 0.65
"""Of the speed of a large product in float32 that an embedder keeps up: embedding it was 0.72 to
0.99 of it, training 0.55 to 0.65, with 6 layers of 384 and 12 of 768, on texts of 15 to 250 tokens
(one thread of an EPYC with AVX-512)."""
BYTES_PER_NUMBER = 4
SEARCH_TEXTS = 16
"""Of a step in the training of a search, see `assay.train.encoder.job`."""
TUNED_COPIES = 4
"""Of what is trained of it, beside the weights: gradient, two moments, a checkpoint's making."""
KEPT_PER_OUTPUT = 3
"""Numbers kept for the way back, for each that a matrix makes: its input, what follows it."""


@dataclass(frozen=True, slots=True)
class IndexedDocuments:
    """A project's knowledge base: what embeds its passages, and how many it has."""

    embedder: str
    passages: int


def with_encoders(
    sizes: Sizes, config: Config, documents: IndexedDocuments, progress: Progress
) -> Sizes:
    """The sizes with those of the project's encoders, and of what they read. One is looked at (and
    fetched, where it is not on this machine) only if a candidate that takes part lets it read.

    Raises:
        ConfigError, ModelError: a candidate, or an encoder, cannot be used.
    """
    sizes = replace(sizes, passages=documents.passages)
    workloads = [specs()[name].estimate(config, sizes) for name in taking_part(config)]
    if any(one.embedded for one in workloads):
        sizes = replace(sizes, embedder=encoder_size(config.classifier.embedder, progress))
    if any(one.embedded_documents for one in workloads):
        sizes = replace(sizes, document_embedder=encoder_size(documents.embedder, progress))
    rerank = None if config.knowledge is None else config.knowledge.rerank
    if rerank is not None and any(one.reranked for one in workloads):
        sizes = replace(sizes, reranker=encoder_size(rerank, progress))
    return sizes


def indexed_documents(
    store: Store, owner: str, config: Config, pin: str | None = None
) -> IndexedDocuments:
    """The knowledge base that the project's `knowledge` names; a new one where there is none
    yet.

    Args:
        pin: of a comparison: as it keeps it.
    """
    if config.knowledge is not None:
        try:
            found = knowledge_base(store, owner, config.knowledge.name, pin=pin).describe()
            return IndexedDocuments(found["embedder"], found["passages"])
        except NotFoundError:
            pass
    return IndexedDocuments(KnowledgeSettings().embedder, 0)


def encoders_of(workload: Workload, sizes: Sizes) -> list[tuple[float, EncoderSize]]:
    """(tokens that it reads, its size) of every encoder that reads for a candidate."""
    read = (
        (workload.embedded, sizes.embedder),
        (workload.embedded_documents, sizes.document_embedder),
        (workload.reranked, sizes.reranker),
    )
    return [one for one in read if one[0]]


def tuned_bytes(workload: Workload, sizes: Sizes) -> float:
    """What the largest training of an encoder takes for a candidate; 0 where none is trained."""
    found = [0.0]
    if workload.texts_per_step:
        tokens = workload.texts_per_step * sizes.read_tokens
        found.append(tuning_bytes(sizes.embedder, tokens))
    if workload.tunes_search:
        for _, size in encoders_of(replace(workload, embedded=0.0), sizes):
            texts = max(sizes.input_tokens, PASSAGE_TOKENS)
            found.append(tuning_bytes(size, SEARCH_TEXTS * min(texts, size.limit)))
    return max(found)


def tuning_bytes(embedder: EncoderSize, tokens: float) -> float:
    """What training an embedder takes beside it, with steps of so many tokens."""
    copies = embedder.parameters + TUNED_COPIES * embedder.multiplied
    return BYTES_PER_NUMBER * (copies + kept_numbers(embedder, tokens))


def kept_numbers(embedder: EncoderSize, tokens: float) -> float:
    """Numbers that a step over so many tokens keeps for the way back."""
    return KEPT_PER_OUTPUT * embedder.outputs * tokens


def embedding_operations(workload: Workload, sizes: Sizes) -> float:
    """Of all products that encoders make for a candidate, a sum of two numbers counted as two (a
    multiplication and an addition)."""
    return sum(2.0 * tokens * size.multiplied for tokens, size in encoders_of(workload, sizes))


def embedding_flops() -> float:
    """Operations a second that an encoder keeps up here; it works in float32."""
    return EMBED_SHARE * products().float32
