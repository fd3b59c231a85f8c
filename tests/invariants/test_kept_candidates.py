"""What is kept of a candidate answers the same in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.candidates import (
    test_classifier,
    test_extract,
    test_prompt_reflected,
    test_quote,
    test_rag_tuned,
    test_tools,
)
from tests.candidates.test_distill import context_of
from tests.candidates.test_documents import FACTS, NO, write_documents
from tests.fresh_process import FreshProcess, fresh_process
from tests.models.tiny_embedder import write_embedder
from tests.small import write_model

from assay.agent.engines import BatchEngines
from assay.agent.runtime import assemble
from assay.agent.versions import save_agent
from assay.candidates import encoder_pairs
from assay.candidates.building import Context
from assay.candidates.registry import build
from assay.candidates.shared import retriever
from assay.example import Example
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.settings import KnowledgeSettings
from assay.knowledge.sources import SourceFile

LABELLED = ["my bank card is lost", "why this big fee", "", "nothing known", "card fee " * 30]

Made = tuple[Context, tuple[Example, ...]]
"""What a candidate is built of, and the rows that it is then asked."""


def labels(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    patch.setattr(encoder_pairs, "MOST_EACH", 2)
    return test_classifier.context_of(folder), tuple(Example.of(text, "") for text in LABELLED)


def records(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    made = test_extract.context(folder, **embedder_of(folder, "please call write letter to times"))
    return made, made.validation


def calls(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    made = context_of(
        folder,
        {},
        task="tools",
        graders=test_tools.GRADERS,
        primary="call-exact",
        **embedder_of(folder, "I go to please thank you Where on When Monday Tuesday"),
    )
    train, held = (
        tuple(
            test_tools.asked(n, town, day)
            for n, town in enumerate(towns)
            for day in ("Monday", "Tuesday", None)
        )
        for towns in (("Kiel", "Riga", "Oslo", "Turku", "Visby", "Gdynia"), ("Narvik", "Malmo"))
    )
    return replace(made, train=train, validation=held), held


def quotations(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    knowledge = {"paths": ["docs"], "modes": ["dense"], "ks": [2], "abstain": NO}
    made = context_of(folder, {}, knowledge=knowledge)
    write_documents(folder / "docs")
    text = " ".join(["where are on board found in the", *FACTS, *FACTS.values()])
    base = KnowledgeBase(made.store, made.bench.owner, "documents")
    base.create()
    base.add(
        [SourceFile(f"docs/{what}.md", folder / f"docs/{what}.md") for what in FACTS],
        settings=KnowledgeSettings(str(write_embedder(folder, text=text)), chunk_tokens=50),
    )
    train, held = (test_quote.sentences_of(part) for part in ("train", "validation"))
    return replace(made, train=train, validation=held), held


def tuned_search(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    patch.setattr(retriever, "REFERENCE_RATE", 1e-2)
    made = test_rag_tuned.make(folder, patch)
    return with_model(made, made.config.model), made.validation[:6]


def evolved_prompt(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    test_prompt_reflected.play(patch, test_prompt_reflected.by_steps)
    made = test_prompt_reflected.context(folder)
    return with_model(made, str(write_model(folder / "model"))), made.validation[:6]


def with_model(context: Context, model: str) -> Context:
    """A model that gives short answers; while a candidate is built, a script answers for it."""
    short = context.config.generate.model_copy(update={"max_new_tokens": 12})
    config = context.config.model_copy(update={"model": model, "generate": short})
    return replace(context, bench=replace(context.bench, config=config))


def embedder_of(folder: Path, words: str) -> dict[str, Any]:
    return {"classifier": {"embedder": str(write_embedder(folder, text=words))}}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[FreshProcess]:
    with fresh_process() as process:
        yield process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "made_of"),
    [
        ("baseline-tfidf", labels),
        ("classifier", labels),
        ("encoder", labels),
        ("encoder-pairs", labels),
        ("nearest-answer", labels),
        ("extract", records),
        ("extract-call", calls),
        ("quote", quotations),
        ("rag-tuned", tuned_search),
        ("prompt-reflected", evolved_prompt),
    ],
)
def test_a_kept_candidate_answers_the_same_in_a_fresh_process(
    name: str,
    made_of: Callable[[Path, pytest.MonkeyPatch], Made],
    tmp_path: Path,
    elsewhere: FreshProcess,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        context, rows = made_of(tmp_path, patch)
        agent = build(name, context).agent
    store, owner = context.store, context.bench.owner
    version = save_agent(store, name, agent, message="built")
    engine = BatchEngines(store, dtype="float32").for_agent(agent)
    requests = assemble(agent, rows, store, owner)
    answers = engine.answer([replace(request, logprobs=0) for request in requests])
    assert len({answer.text for answer in answers}) > 1
    [(identity, again)] = elsewhere.ask(store, owner, [version.label], rows)
    assert identity == engine.identity
    assert [text for text, _ in again] == [answer.text for answer in answers]
    for answer, (_, logprob) in zip(answers, again, strict=True):
        # A vector is rounded otherwise beside others than alone: in float32, a millionth.
        assert logprob == (answer.logprob and pytest.approx(answer.logprob, abs=1e-6))
    kept = {path.suffix for path in store.folder.rglob("*")}
    assert not kept & {".pt", ".bin", ".pkl", ".joblib"}
