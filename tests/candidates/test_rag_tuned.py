"""`rag-tuned`: its embedder is trained on some documents, measured on others, and kept."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from tests.candidates.test_distill import context_of
from tests.evaluate.scripted import ScriptedEngine
from tests.invariants.test_knowledge import CANARY, traces
from tests.models.tiny_embedder import write_embedder
from tests.preloaded import run_code
from tests.small import write_model

from assay.agent.agent import Knowledge
from assay.agent.engines import BatchEngines
from assay.agent.lineage import is_retrained, rows_behind, rows_held
from assay.agent.passages import find_passages, knowledge_base
from assay.candidates.building import Candidate, Context
from assay.candidates.registry import build, offer, propose_candidates
from assay.candidates.shared import retriever
from assay.candidates.shared.retriever import (
    LEAST_NAMED,
    pair_with_passages,
    split_by_document,
)
from assay.errors import ConfigError, DataError
from assay.example import Example
from assay.generate.batch import Answer, Request
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.search import IndexedPassage
from assay.knowledge.settings import KnowledgeSettings
from assay.knowledge.sources import SourceFile
from assay.models.embed import Embedder, Vectors

DOCUMENTS = 32
WORDS = [f"thing{number}" for number in range(40)]
ASKED = "where on board are the now please"
TOLD = "of these we keep some behind a door"
ROOMS = ("hold", "cabin", "deck", "rack")
VOCABULARY = " ".join([ASKED, TOLD, *WORDS, *ROOMS, "."])
SHOWN = """
import json, sys
from pathlib import Path
from assay.agent.agent import Knowledge
from assay.agent.passages import find_passages
from assay.example import Example
from assay.store.store import Store

folder, owner, knowledge, texts = sys.argv[1:]
rows = [Example.of(text, "") for text in json.loads(texts)]
found = find_passages(Knowledge.model_validate_json(knowledge), rows, Store(Path(folder)), owner)
print(json.dumps([[[p.document, p.text, p.score] for p in row] for row in found]))
"""


def name_of(number: int) -> str:
    return f"docs/{number}.md"


def subjects(number: int) -> list[str]:
    """Words that a document is about; the first one is its own."""
    return [WORDS[number], *random.Random(number).sample(WORDS[DOCUMENTS:], 2)]


def rows(part: str, every: int, each: int = 2) -> tuple[Example, ...]:
    """Questions about every n-th document, in other words than it has beside its subjects."""
    rng = random.Random(part)
    return tuple(
        Example.of(
            f"{ASKED} {subjects(number)[0]} {rng.choice(subjects(number)[1:])}",
            ROOMS[number % 4],
            id=f"{part}-{number}-{time}",
            document=name_of(number),
        )
        for number in range(0, DOCUMENTS, every)
        for time in range(each)
    )


def reader(request: Request, _: int) -> Answer:
    """A model that says the last word of the passage that stands first."""
    turn = request.messages[-1].content
    said = turn.rpartition("door ")[2].partition(".")[0] if "door " in turn else "nothing"
    return Answer(said, prompt_tokens=1, completion_tokens=1)


def make(folder: Path, patch: pytest.MonkeyPatch, **knowledge: object) -> Context:
    engine = ScriptedEngine(reader)
    patch.setattr(BatchEngines, "for_agent", lambda self, agent: engine)
    (folder / "docs").mkdir()
    for number in range(DOCUMENTS):
        text = f"{TOLD} {' '.join(subjects(number))} door {ROOMS[number % 4]}."
        (folder / name_of(number)).write_text(text)
    section = {"paths": ["docs"], "modes": ["bm25", "dense"], "ks": [1], **knowledge}
    model = str(write_model(folder / "model"))
    context = context_of(folder, {}, knowledge=section, model=model, candidates=["rag-tuned"])
    embedder = str(write_embedder(folder, text=VOCABULARY))
    base = KnowledgeBase(context.store, context.bench.owner, "documents")
    base.create()
    files = [SourceFile(name_of(number), folder / name_of(number)) for number in range(DOCUMENTS)]
    base.add(files, settings=KnowledgeSettings(embedder, chunk_tokens=50))
    return replace(context, train=rows("train", 1), validation=rows("validation", 2, each=1))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, Candidate]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retriever, "REFERENCE_RATE", 1e-2)
        context = make(tmp_path_factory.mktemp("tuned"), patch)
        return context, build("rag-tuned", context)


def held_out(context: Context, made: Candidate) -> set[str]:
    """Documents of validation of which no question was trained on."""
    trained = set(rows_held(made.agent, context.store))
    taught = {row.document or "" for row in context.train if row.content_hash() in trained}
    return {row.document or "" for row in context.validation} - taught


def test_no_question_of_a_held_out_document_is_trained_on(
    built: tuple[Context, Candidate],
) -> None:
    context, made = built
    trained = set(rows_held(made.agent, context.store))
    held = held_out(context, made)
    assert len(held) == LEAST_NAMED
    assert trained == {e.content_hash() for e in context.train if e.document not in held}
    assert trained == set(rows_behind(made.agent, context.store))
    assert is_retrained(made.agent, context.store)
    assert (made.curated, made.retrained) == (True, True)
    measured = {one.setting: one.score for one in made.tried}
    about = f"of {LEAST_NAMED} questions about held-out documents, by meaning"
    for name in ("hit@1", "hit@5", "ndcg@10"):
        assert (
            measured[f"{name} {about}, after training"]
            > measured[f"{name} {about}, before training"]
        )
    assert made.warnings == ()
    assert not any("bm25" in setting for setting in measured)
    losses = [p.validation_loss for p in made.curve if p.validation_loss is not None]
    [kept] = [p for p in made.curve if p.step == made.best_step]
    assert kept.validation_loss == min(losses) < losses[0]


def check_fresh_process(context: Context, knowledge: Knowledge, plain: Knowledge) -> None:
    """See that a search finds the same in a new process, and not what an untrained one finds."""
    store, owner = context.store, context.bench.owner
    asked = [row.input for row in context.validation]
    found = find_passages(knowledge, context.validation, store, owner)
    assert found != find_passages(plain, context.validation, store, owner)
    output = store.folder.parent / "shown.txt"
    given = [str(store.folder), owner, knowledge.model_dump_json(), json.dumps(asked)]
    assert run_code(SHOWN, *given, output=output).wait(300) == 0, output.read_text()
    again = json.loads(output.read_text().splitlines()[-1])
    assert [[p[:2] for p in row] for row in again] == [
        [[p.document, p.text] for p in row] for row in found
    ]
    for row, theirs in zip(found, again, strict=True):
        # A vector is rounded otherwise beside others than alone: in float32, a millionth.
        assert [p[2] for p in theirs] == pytest.approx([p.score for p in row], abs=1e-6)
    assert not [path for path in store.folder.rglob("*") if path.suffix in (".pt", ".bin", ".pkl")]


def test_it_finds_the_same_in_a_fresh_process(built: tuple[Context, Candidate]) -> None:
    context, made = built
    knowledge = made.agent.knowledge
    assert knowledge is not None
    untrained = {"embedder": None, "snapshot": None}
    check_fresh_process(context, knowledge, knowledge.model_copy(update=untrained))


def test_a_removed_document_is_in_no_vectors_of_the_trained_embedder_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retriever, "REFERENCE_RATE", 1e-2)
    context = make(tmp_path, monkeypatch)
    secret = tmp_path / "docs" / "secret.md"
    secret.write_text(f"{TOLD} {CANARY} door safe.")
    about = tuple(
        Example.of(f"{ASKED} {CANARY}", "safe", id=f"secret{n}", document="docs/secret.md")
        for n in range(3)
    )
    made = build("rag-tuned", replace(context, train=(*context.train, *about)))
    knowledge, owner = made.agent.knowledge, context.bench.owner
    assert knowledge is not None
    copy = knowledge_base(context.store, owner, knowledge.name, knowledge.embedder)
    [found] = copy.search([CANARY], k=1, mode="bm25")
    assert CANARY in found[0].text
    secret.unlink()
    KnowledgeBase(context.store, owner, "documents").remove(["docs/secret.md"])
    assert list(traces(tmp_path)) == []
    assert len(copy.documents()) == DOCUMENTS
    [after] = find_passages(knowledge, about[:1], context.store, owner)
    assert after, "the present state is searched"
    KnowledgeBase(context.store, owner, "documents").delete()
    assert not list((context.store.folder / "knowledge").glob("*/tables"))


def test_a_training_that_brings_nothing_is_told(
    built: tuple[Context, Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, made = built
    alike = {"hit@1": 0.5, "hit@5": 0.5, "ndcg@10": 0.5}
    monkeypatch.setattr(retriever, "search_quality", lambda *_: alike)
    monkeypatch.setattr(retriever, "REFERENCE_RATE", 1e-2)
    engine = ScriptedEngine(reader)
    monkeypatch.setattr(BatchEngines, "for_agent", lambda self, agent: engine)
    again = build("rag-tuned", context)
    assert again.agent == made.agent, "a training that was finished is not made again"
    [warning] = again.warnings
    assert "0.500 after training and 0.500 before" in warning


def test_what_cannot_be_measured_on_other_documents_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make(tmp_path, monkeypatch)
    unnamed = tuple(replace(row, document=None) for row in context.validation)
    with pytest.raises(DataError, match="there are 64 and 0"):
        build("rag-tuned", replace(context, validation=unnamed))
    one = tuple(replace(row, document=name_of(0)) for row in (*context.train, *context.validation))
    with pytest.raises(DataError, match="there are 0 and 80"):
        build("rag-tuned", replace(context, train=one, validation=one[: len(one)]))
    knowledge = context.config.knowledge
    assert knowledge is not None
    words = knowledge.model_copy(update={"modes": ["bm25"]})
    config = context.config.model_copy(update={"knowledge": words})
    with pytest.raises(ConfigError, match="only bm25"):
        build("rag-tuned", replace(context, bench=replace(context.bench, config=config)))


def test_documents_that_only_validation_asks_about_are_held_out_first() -> None:
    def asked(names: str) -> list[tuple[Example, frozenset[str]]]:
        return [
            (Example.of(name, "", id=f"{n}"), frozenset({name})) for n, name in enumerate(names)
        ]

    train, held = split_by_document(asked("abcd" * 5), asked("xyz" * 10), seed=0)
    assert (len(train), len(held)) == (20, 30), "nothing has to be left out"
    train, held = split_by_document(asked("abcd" * 9), asked("abcd" * 5 + "x"), seed=0)
    taught = {name for _, named in train for name in named}
    assert taught.isdisjoint(name for _, named in held for name in named)
    assert ("x" in {row.input for row, _ in held}, len(held)) == (True, LEAST_NAMED + 1)
    assert split_by_document(asked("abcd" * 9), asked("abcd" * 5 + "x"), seed=0)[0] == train


@pytest.mark.parametrize(
    ("exact", "passage", "negative"), [(True, "holds cabin", "far"), (False, "near", "nearly")]
)
def test_a_hard_negative_is_surely_less_similar_than_the_passage(
    exact: bool, passage: str, negative: str
) -> None:
    def indexed(document: str, text: str, cosine: float) -> IndexedPassage:
        vector = np.array([cosine, math.sqrt(1 - cosine**2)], dtype=np.float32)
        return IndexedPassage(document, text, text, vector)

    class Fixed:
        def encode(self, texts: list[str]) -> Vectors:
            return np.array([[1.0, 0.0]] * len(texts), dtype=np.float32)

    passages = [
        indexed("a.md", "near", 0.8),
        indexed("a.md", "holds cabin", 0.7),
        indexed("b.md", "nearly", 0.69),
        indexed("c.md", "far", 0.6),
        indexed("d.md", "farther", 0.5),
    ]
    row = Example.of("where?", "Cabin", id="1", weight=2.0)
    rows = [(row, frozenset({"a.md"})), (row, frozenset({"empty.md"}))]
    [made] = pair_with_passages(rows, passages, cast(Embedder, Fixed()), exact=exact)
    assert (made.text, made.documents, made.weight) == ("where?", ("a.md",), 2.0)
    assert (made.passage.text, [p.text for p in made.negatives]) == (passage, [negative])
    assert pair_with_passages(rows, [], cast(Embedder, Fixed()), exact=exact) == []


def test_it_is_offered_with_documents_and_not_proposed() -> None:
    """It takes minutes and rows that name their document: whoever wants it names it."""
    assert "rag-tuned" in offer(task="text", documents=True)
    assert "rag-tuned" not in offer(task="text", documents=False)
    assert "rag-tuned" not in propose_candidates(task="text", documents=True)
