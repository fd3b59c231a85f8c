"""`rag-tuned` where a cross-encoder is named: it is trained on what the search finds, and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.candidates.test_rag_tuned import (
    DOCUMENTS,
    ROOMS,
    VOCABULARY,
    check_fresh_process,
    make,
    rows,
    subjects,
)
from tests.models.tiny_cross_encoder import write_cross_encoder

from assay.agent.lineage import is_retrained, rows_held
from assay.candidates import rag_tuned
from assay.candidates.building import Candidate, Context
from assay.candidates.registry import build
from assay.candidates.shared import documents, reranker, retriever
from assay.candidates.shared.retriever import LEAST_NAMED
from assay.candidates.spec import PASSAGE_TOKENS, Sizes
from assay.config import KnowledgeSection
from assay.example import Example
from assay.knowledge import base
from assay.models.tuned_encoder import SCHEME

KEPT, LOGGED = "we keep", "now please"
"""What tells a document that answers from the old one beside it, which comes first by meaning: its
two words are in every question. No subject tells the two apart, so whoever has learned the rule on
some documents knows it of all, and it shows on those that were held out."""
SEED = 2
"""Of a cross-encoder that puts the old documents first, too, before it is trained. Each of six
seeds learned the rule from so many rows at this rate; from fewer at a higher one, not each."""


def asked(part: str, every: int, each: int) -> tuple[Example, ...]:
    """As `rows`, about the document's own word."""
    return tuple(
        replace(row, messages=Example.of(f"{own} {own} {own} now please", row.output).messages)
        for row in rows(part, every, each)
        for own in [subjects(int(row.id.split("-")[1]))[0]]
    )


def make_reranked(folder: Path, patch: pytest.MonkeyPatch) -> Context:
    """As `make`, but beside each document lies an old one, and the two best passages are read.

    The embedder learns next to nothing: it finds both, the old one first.
    """
    patch.setattr(base, "POOL", 2)
    patch.setattr(documents, "_DEEP", 2)
    patch.setattr(retriever, "REFERENCE_RATE", 1e-7)
    patch.setattr(reranker, "REFERENCE_RATE", 3e-3)
    reads = write_cross_encoder(folder / "reads", seed=SEED, text=VOCABULARY)
    context = make(folder, patch, modes=["dense"], rerank=str(reads))
    for number in range(DOCUMENTS):
        about = " ".join(subjects(number)[:1] * 6)
        for name, words, room in (("", KEPT, number), ("old", LOGGED, number + 1)):
            file = folder / "docs" / f"{name}{number}.md"
            file.write_text(f"{about} {words} door {ROOMS[room % 4]}.")
    return replace(context, train=asked("train", 1, 10), validation=asked("validation", 2, 1))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, Candidate]:
    with pytest.MonkeyPatch.context() as patch:
        context = make_reranked(tmp_path_factory.mktemp("tuned"), patch)
        return context, build("rag-tuned", context)


def test_it_takes_part_where_it_gains_on_held_out_documents(
    built: tuple[Context, Candidate],
) -> None:
    made = built[1]
    knowledge = made.agent.knowledge
    assert knowledge is not None
    assert (knowledge.rerank or "").startswith(SCHEME)
    measured = {one.setting: one.score for one in made.tried}
    about = f"of {LEAST_NAMED} questions about held-out documents, by meaning"
    assert measured[f"hit@5 {about}, after training"] == 1, "both are found by meaning"
    for name in ("hit@1", "ndcg@10"):
        after = measured[f"{name} {about} and reranked, after training"]
        assert after == 1, "the rule holds for documents of which no question was trained on"
        assert after > measured[f"{name} {about} and reranked, before training"]
        assert after > measured[f"{name} {about}, after training"]
    [untrained, trained] = [one for one in made.tried if one.setting.startswith("reranked")]
    assert (untrained.chosen, trained.chosen) == (False, True)
    assert trained.setting.endswith("reads, trained, nDCG@10 of the search")


def test_the_rows_behind_it_are_known(built: tuple[Context, Candidate]) -> None:
    context, made = built
    assert made.agent.knowledge is not None
    alone = made.agent.knowledge.model_copy(update={"embedder": None})
    agent = made.agent.model_copy(update={"knowledge": alone})
    trained = set(rows_held(agent, context.store))
    assert trained == set(rows_held(made.agent, context.store))
    assert trained < {row.content_hash() for row in context.train}
    assert is_retrained(agent, context.store)


def test_it_finds_the_same_in_a_fresh_process(built: tuple[Context, Candidate]) -> None:
    context, made = built
    knowledge = made.agent.knowledge
    assert knowledge is not None
    assert context.config.knowledge is not None
    untrained = {"rerank": context.config.knowledge.rerank}
    check_fresh_process(context, knowledge, knowledge.model_copy(update=untrained))


def test_the_estimate_counts_what_it_reads(built: tuple[Context, Candidate]) -> None:
    """A pair for every passage that a question is trained on."""
    assert rag_tuned.PAIRS_PER_ROW == 1 + reranker.NEGATIVES
    config = built[0].config
    assert config.knowledge is not None
    plain = config.knowledge.model_copy(update={"rerank": None})
    without = config.model_copy(update={"knowledge": plain})
    sizes = Sizes(100, 20, 30, 10.0, 10.0, 10.0, 1e8, 1000)
    more, less = (rag_tuned.estimate(one, sizes).reranked for one in (config, without))
    assert more - less == (4 * 5 * (3 * 100 + 20) + 4 * 50 * 20) * (10 + PASSAGE_TOKENS)


def test_a_trained_cross_encoder_is_not_named_in_settings(built: tuple[Context, Candidate]) -> None:
    """A holdout that is drawn anew may hold rows that it was trained on."""
    knowledge = built[0].config.knowledge
    assert knowledge is not None
    with pytest.raises(ValidationError, match="trained from"):
        KnowledgeSection.model_validate({**knowledge.model_dump(), "rerank": f"tuned:{'a' * 64}"})
