"""The cross-encoder of a search, trained on what the search finds.

It learns from the questions that the embedder was trained on, before it. Beside the passage of a
question stand those of other documents that the trained embedder finds most similar: the ones that
the cross-encoder has to put behind it. Here none is spared for being near: what a search puts first
and the row does not name is what there is to learn, and who answers is for the row to say.
"""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.building import Context
from assay.candidates.shared.documents import (
    knowledge_section,
    search_quality,
    searched_documents,
)
from assay.candidates.shared.retriever import (
    Retriever,
    before_and_after,
    by_meaning,
    pair_with_passages,
    train_on,
    warn_of_no_gain,
)
from assay.models.embed import get_reranker
from assay.models.tuned_encoder import open_embedder
from assay.train.encoder.passage_pairs import PassagePairs

NEGATIVES = 4
REFERENCE_RATE = 2e-5
"""The highest learning rate of a cross-encoder as large as the starter embedder."""
_HOW = "by meaning and reranked"


def tune_reranker(context: Context, made: Retriever, epochs: int) -> Retriever:
    """Train the project's cross-encoder, if it names one, on what a trained embedder finds.

    Raises:
        DataError, ModelError: as `train_encoder`.
        KeyboardInterrupt: stopped by the user; the same call goes on from there.
    """
    name = knowledge_section(context).rerank
    if name is None:
        return made
    reranker, search = get_reranker(name), made.search
    embedder = open_embedder(search.embedder, context.store)
    documents = searched_documents(context, search.base)
    indexed = search.base.tuned_copy(search.embedder).indexed_passages()
    passages = [passage for passage in indexed if passage.document in documents]
    data = PassagePairs(
        *(
            pair_with_passages(
                part,
                passages,
                embedder,
                exact=context.config.task == "text",
                negatives=NEGATIVES,
                below=None,
                read=lambda passage: passage.reread,
            )
            for part in (made.train, made.held)
        )
    )
    result = train_on(context, made.train, reranker, data, epochs, REFERENCE_RATE)
    found = by_meaning(context, search.base, search.embedder)
    before, after = (
        search_quality(context, found.model_copy(update={"rerank": one}), search.judged)
        for one in (name, result.name)
    )
    told = warn_of_no_gain(reranker.kind, _HOW, before, after, len(search.judged))
    return replace(
        made,
        search=replace(search, reranker=result.name),
        tried=made.tried + before_and_after(search.judged, _HOW, before, after),
        warnings=(*made.warnings, *told),
        seconds=made.seconds + result.seconds,
    )
