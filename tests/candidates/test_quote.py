"""Quotations as a candidate: chosen on validation, out of the documents as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import context_of
from tests.candidates.test_documents import FACTS, NO, rows, write_documents
from tests.knowledge.wordy import Wordy
from tests.words import by_words

from assay.agent.answering import GenerationOptions, Target, prepare
from assay.candidates import registry
from assay.candidates.building import Context
from assay.example import Example
from assay.generate import quoting
from assay.generate.registry import EngineResources, open_stream
from assay.generate.stream import Piece
from assay.knowledge.base import KnowledgeBase


def sentences_of(part: str) -> tuple[Example, ...]:
    """Rows whose answer is the sentence of the document."""
    return tuple(
        row
        if row.document == ""
        else Example.of(
            row.input,
            f"On board, {row.document} are found in the {row.output}.",
            id=row.id,
            document=row.document,
        )
        for row in rows(part)
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Context]:
    by_words(monkeypatch)
    monkeypatch.setattr(quoting, "get_embedder", lambda name: Wordy())

    def make(**knowledge: Any) -> Context:
        write_documents(tmp_path / "docs")
        section = {"paths": ["docs"], "modes": ["bm25", "dense"], "ks": [1, 2], **knowledge}
        context = context_of(tmp_path, {}, knowledge=section)
        return replace(context, train=sentences_of("train"), validation=sentences_of("validation"))

    return make


def test_it_quotes_and_says_where_nothing_answers(project: Callable[..., Context]) -> None:
    context = project(abstain=NO)
    built = registry.build("quote", context)
    assert built.baseline
    assert built.agent.knowledge is not None
    assert built.agent.knowledge.abstain is None
    measured = context.measure(built.agent)
    assert built.scores == tuple(measured.primary_scores)
    assert sum(built.scores) >= len(FACTS)
    for answer, place in zip(measured.answers, FACTS.values(), strict=False):
        assert place in answer.text
        assert answer.text.endswith(f"are found in the {place}.")
    assert [t.setting for t in built.tried if t.chosen][
        -1
    ] == "sentences: 1, judged by all-minilm-l6-v2"
    certain = [answer.logprob or 0 for answer in measured.answers[: len(FACTS)]]
    assert max(certain) < 0
    assert min(certain) > quoting.NO_PASSAGE


def test_a_document_that_was_removed_is_quoted_no_more(project: Callable[..., Context]) -> None:
    context = project(abstain=NO)
    built = registry.build("quote", context)
    asked = [example for example in context.judged if example.document == "dogs"]
    [before] = context.bench.measure(built.agent, asked).answers
    assert "hold" in before.text
    base = KnowledgeBase(context.store, context.bench.owner, "documents")
    base.remove(["docs/dogs.md"])
    [after] = context.bench.measure(built.agent, asked).answers
    assert "hold" not in after.text


def test_what_was_compared_is_what_is_served(project: Callable[..., Context]) -> None:
    context = project(abstain=NO)
    agent = registry.build("quote", context).agent
    store, owner = context.store, context.bench.owner
    rows = context.judged[::4]

    def served(example: Example, seen: frozenset[str] | None = None) -> str:
        target = Target("quote@1", agent.model, agent)
        [call] = prepare(target, example.prompt, (), GenerationOptions(), store, owner, seen)
        engine = open_stream(call.model, EngineResources(store))
        pieces = engine.chat(call.messages, call.tools, call.sampling)
        return "".join(piece.text for piece in pieces if isinstance(piece, Piece))

    measured = [answer.text for answer in context.bench.measure(agent, rows).answers]
    assert [served(example) for example in rows] == measured
    # A key that sees no document is quoted none.
    assert served(rows[0], frozenset({"secret"})) == NO != measured[0]


def test_a_cross_encoder_that_is_named_judges_too(
    project: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    class Reader:
        identity = "reader"

        def scores(self, question: str, texts: list[str]) -> list[float]:
            read.extend(texts)
            return [float(len(text)) for text in texts]

    from assay.knowledge import base

    monkeypatch.setattr(quoting, "get_reranker", lambda name: Reader())
    monkeypatch.setattr(base, "open_reranker", lambda name, store: Reader())
    built = registry.build("quote", project(rerank="reader"))
    settings = [trial.setting for trial in built.tried]
    assert [s for s in settings if "judged by reader" in s] == [
        f"sentences: {n}, judged by reader" for n in (1, 2, 3)
    ]
    assert read
