"""Candidates with documents: what validation chooses, and what a training is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import context_of
from tests.evaluate.scripted import ScriptedEngine
from tests.small import write_model
from tests.train.tiny import SETTINGS
from tests.words import by_words

from assay.agent.engines import BatchEngines
from assay.agent.passages import find_passages
from assay.agent.runtime import assemble
from assay.candidates import fine_tune, fine_tune_documents, fine_tune_rag, rag, rag_few_shot
from assay.candidates.building import Context
from assay.candidates.shared import documents, tuning
from assay.candidates.shared.documents import add_documents, index_documents
from assay.candidates.shared.training import train_version
from assay.candidates.shared.training_documents import training_documents
from assay.chat.template import Template
from assay.config import Config
from assay.errors import ConfigError, DataError
from assay.example import Example
from assay.generate.batch import Answer, Request
from assay.knowledge import base as base_module
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.passage_block import NOTHING
from assay.models.lineage import rows_of
from assay.models.load import load_tokenizer
from assay.models.versions import load_version
from assay.project.versions import describe_learned
from assay.train.units import sequences

FACTS = {
    "dogs": "hold", "cats": "cabin", "cars": "deck", "bikes": "rack", "meals": "saloon",
    "tickets": "kiosk", "coats": "locker", "babies": "nursery", "films": "cinema", "gifts": "shop",
    "money": "purser", "keys": "desk",
}  # fmt: skip
NO = "Not in our documents."


def write_documents(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for what, where in FACTS.items():
        text = f"# {what}\nOn board, {what} are found in the {where}.\n"
        (folder / f"{what}.md").write_text(text)


def rows(part: str) -> tuple[Example, ...]:
    asked = [
        Example.of(f"{part}: where are {what}?", where, id=f"{part}-{what}", document=what)
        for what, where in FACTS.items()
    ]
    nothing = ("penguins", "volcanoes", "violins", "comets")
    asked += [
        Example.of(f"{part}: how heavy is one of the {what}?", NO, id=f"{part}-{what}", document="")
        for what in nothing
    ]
    return tuple(asked)


def reader(request: Request, _: int) -> Answer:
    """A model that says the last word of the passage that stands first, if there is one."""
    turn = request.messages[-1].content
    if NOTHING in turn or "[1]" not in turn:
        return Answer(NO, prompt_tokens=1, completion_tokens=1)
    place = turn.split("found in the ")[1].split(".")[0]
    return Answer(place, prompt_tokens=1, completion_tokens=1)


def _with_tokens(context: Context, most: int) -> Config:
    tuning = context.config.fine_tune.model_copy(update={"max_tokens": most})
    return context.config.model_copy(update={"fine_tune": tuning})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Context]:
    by_words(monkeypatch)

    def make(rule: Callable[[Request, int], Answer] | None = reader, **knowledge: Any) -> Context:
        write_documents(tmp_path / "docs")
        model = str(write_model(tmp_path / "model"))
        if rule is not None:
            engine = ScriptedEngine(rule)
            monkeypatch.setattr(BatchEngines, "for_agent", lambda self, agent: engine)
        section = {"paths": ["docs"], "modes": ["bm25", "dense"], "ks": [1, 2], **knowledge}
        context = context_of(
            tmp_path,
            {**SETTINGS.model_dump(exclude_defaults=True), "max_tokens": 400, "epochs": 1},
            model=model,
            knowledge={**section, "abstain": NO},
            candidates=["rag"],
            few_shot={"ks": [1, 2]},
            generate={"max_new_tokens": 12},
        )
        return replace(context, train=rows("train"), validation=rows("validation"))

    return make


def test_search_and_k_are_chosen_on_validation(project: Callable[..., Context]) -> None:
    context = project()
    made = rag.build(context)
    knowledge = made.agent.knowledge
    assert knowledge is not None
    assert (knowledge.k, knowledge.abstain) == (1, NO), "a tie goes to the smaller k"
    tried = {one.setting: one for one in made.tried}
    assert tried["bm25, nDCG@10 of the search"].score > 0.9
    assert tried["bm25, nDCG@10 of the search"].chosen
    assert tried["bm25, k=2"].score == tried["bm25, k=1"].score
    assert sum(made.scores) == len(context.validation)
    names = {
        d.path for d in KnowledgeBase(context.store, context.bench.owner, "documents").documents()
    }
    assert names == {f"docs/{what}.md" for what in FACTS}, "named within the project"


def test_weights_of_a_hybrid_search_are_tried_where_that_costs_no_answers(
    project: Callable[..., Context],
) -> None:
    context = project(modes=["hybrid"], weights=[0.25, 1.0])
    tried = {one.setting: one for one in rag.build(context).tried}
    names = ("hybrid", "hybrid, 0.25 by meaning", "hybrid, 1 by meaning")
    scores = [tried[f"{name}, nDCG@10 of the search"].score for name in names]
    best = next(name for name, score in zip(names, scores, strict=True) if score == max(scores))
    assert tried[f"{best}, nDCG@10 of the search"].chosen, "of equals the first"
    assert f"{best}, k=1" in tried
    unnamed = tuple(replace(example, document=None) for example in context.validation)
    settings = {one.setting for one in rag.build(replace(context, validation=unnamed)).tried}
    assert not any("by meaning" in setting for setting in settings)


@pytest.mark.parametrize(("score", "taken"), [(0.7, True), (0.5, False), (0.3, False)])
def test_a_cross_encoder_is_taken_where_the_search_gets_better(
    project: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, score: float, taken: bool
) -> None:
    class Reads:
        def scores(self, query: str, texts: Sequence[str]) -> list[float]:
            return [float(text.split()[0] in query) for text in texts]

    monkeypatch.setattr(base_module, "open_reranker", lambda name, store: Reads())
    monkeypatch.setattr(
        documents, "_ndcg", lambda _, knowledge, rows: score if knowledge.rerank else 0.5
    )
    made = rag.build(project(modes=["dense"], rerank="org/reads"))
    assert made.agent.knowledge is not None
    assert made.agent.knowledge.rerank == ("org/reads" if taken else None)
    (tried,) = [one for one in made.tried if "reranked" in one.setting]
    assert tried.setting == "reranked by org/reads, nDCG@10 of the search"
    assert (tried.score, tried.chosen) == (score, taken)


def test_a_threshold_tells_what_nothing_answers(project: Callable[..., Context]) -> None:
    """By meaning something is always found; from the threshold on it is the right document."""
    context = project(modes=["dense"], ks=[1])
    made = rag.build(context)
    assert made.agent.knowledge is not None
    assert made.agent.knowledge.threshold is not None
    assert sum(made.scores) == len(context.validation)
    chosen = {one.setting: one.score for one in made.tried if one.chosen}
    without = next(one.score for one in made.tried if one.setting == "dense, k=1")
    assert without < max(chosen.values()) == 1.0


def test_documents_keep_their_labels_and_sizes_are_tried(
    project: Callable[..., Context],
) -> None:
    context = project(chunk_tokens=[200, 30], labels=["staff"])
    base = KnowledgeBase(context.store, context.bench.owner, "documents")
    from assay.knowledge.sources import SourceFile

    path = context.bench.root / "docs/dogs.md"
    base.add([SourceFile("docs/dogs.md", path)], labels=["staff"])
    for _ in range(2):
        assert [words for words, _ in index_documents(context)] == ["200 tokens, ", "30 tokens, "]
        assert {d.labels for d in base.documents() if d.path == "docs/dogs.md"} == {("staff",)}
    sized = index_documents(context)[1][1]
    assert (sized.name, sized.settings.chunk_tokens) == ("documents@30", 30)
    found = sized.search(["where are cats found?"], k=5, mode="bm25", labels=frozenset({"staff"}))
    assert {passage.document for passage in found[0]} <= {"docs/dogs.md"}
    (context.bench.root / "docs/dogs.md").unlink()
    base.remove(["docs/dogs.md"])
    assert "docs/dogs.md" not in {d.path for d in index_documents(context)[1][1].documents()}


def test_without_documents_it_says_so(project: Callable[..., Context]) -> None:
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        rag.build(project(paths=["nowhere"]))
    with pytest.raises(DataError, match="knowledge base 'documents' has no documents"):
        rag.build(project(paths=[]))


def test_examples_are_shown_beside_passages(project: Callable[..., Context]) -> None:
    context = project()
    made = rag_few_shot.build(context)
    assert made.agent.knowledge is not None
    assert len(made.agent.shown) == 1
    [request] = assemble(made.agent, context.validation[:1], context.store, context.bench.owner)
    shown = [m.content for m in request.messages[:-1]]
    assert not any("<passages>" in text for text in shown)
    assert "<passages>" in request.messages[-1].content


def test_a_training_sees_the_requests_that_will_be_made(
    project: Callable[..., Context],
) -> None:
    context = project(distractors=0.5)
    knowledge = rag.build(context).agent.knowledge
    assert knowledge is not None
    knowledge = knowledge.model_copy(update={"k": 2, "threshold": None})
    agent = context.chat_agent(system_prompt=context.training_prompt, knowledge=knowledge)
    requests = assemble(agent, context.train, context.store, context.bench.owner)
    found = find_passages(knowledge, context.train, context.store, context.bench.owner)
    plain = fine_tune_rag.with_found_passages(context, context.train, found, knowledge, hide=False)
    assert [e.prompt for e in plain] == [r.messages for r in requests]
    assert [e.output for e in plain] == [e.output for e in context.train]
    hidden = fine_tune_rag.with_found_passages(context, context.train, found, knowledge, hide=True)
    gone = [a.prompt != b.prompt for a, b in zip(plain, hidden, strict=True)]
    assert 0 < sum(gone) < len(FACTS), "of some rows the own document is hidden"
    assert not any(gone[len(FACTS) :]), "rows that nothing answers keep theirs"
    for lost, example in zip(gone, hidden, strict=True):
        if lost:
            assert f"docs/{example.document}.md" not in example.prompt[-1].content


def test_rows_that_have_no_room_for_passages_are_told(project: Callable[..., Context]) -> None:
    context = project(modes=["bm25"], ks=[1])
    knowledge = rag.build(context).agent.knowledge
    assert knowledge is not None
    template = Template.of(load_tokenizer(context.config.model)[0])
    none = knowledge.model_copy(update={"characters": 1})
    bare = []
    for rows in (context.train, context.validation):
        found = find_passages(none, rows, context.store, context.bench.owner)
        taught = fine_tune_rag.with_found_passages(context, rows, found, none, hide=False)
        bare += sequences(taught, template, context.training_prompt)
    most = max(len(row.ids) for row in bare)
    tight = replace(context, bench=replace(context.bench, config=_with_tokens(context, most)))
    with pytest.raises(
        DataError, match=f"no passage fits next to a row within the limit of {most} tokens"
    ):
        fine_tune_rag._fit_passages(tight, knowledge)
    long = Example.of("where are dogs? " * 20, "hold", id="long", document="dogs")
    context = replace(context, train=(*context.train, long))
    _, longest, warnings = fine_tune_rag._fit_passages(context, knowledge)
    assert warnings == (
        "1 of 13 training rows have no room for a passage in the 400 tokens of "
        "fine_tune.max_tokens.",
    )
    assert "[1]" not in longest.train[-1].prompt[-1].content
    assert any("[1]" in example.prompt[-1].content for example in longest.train)


@pytest.mark.slow
def test_a_version_trained_with_passages_knows_the_rows_it_was_made_of(
    project: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = project(rule=None, modes=["bm25"], ks=[1])
    made = fine_tune_rag.build(context)
    assert made.fine_tuned
    assert made.agent.knowledge is not None
    version = load_version(context.store, made.agent.model.removeprefix("version:"))
    asked = rows_of(context.store, version.record.data["asked"])
    assert asked == [example.content_hash() for example in context.train]
    assert version.record.data["train"] != version.record.data["asked"]
    assert len(made.scores) == len(context.validation)


@pytest.mark.slow
def test_a_version_learns_the_documents_and_then_the_rows(
    project: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = project(rule=None)
    private = "Ask jane.roe@mail.org.\n"
    (tmp_path / "docs" / "contact.md").write_text(private)
    (tmp_path / "docs" / "copy.md").write_text((tmp_path / "docs" / "cats.md").read_text())
    found = training_documents(context)
    parts = found.train, found.held
    assert [len(part) for part in parts] == [12, 1], "two texts are one; one of the others is held"
    texts = {one.text for part in parts for one in part}
    assert not any("jane" in text for text in texts)
    assert any(text.startswith("Ask ") for text in texts)
    made = fine_tune_documents.build(context)
    version = load_version(context.store, made.agent.model.removeprefix("version:")).record
    assert version.settings["method"] == "sft"
    assert rows_of(context.store, version.data["train"]) == [
        e.content_hash() for e in context.train
    ]
    assert version.parent is not None
    first = load_version(context.store, version.parent).record
    assert (first.settings["method"], first.data["documents"]) == ("text", found.sha256)
    files = {d.path: d.sha256 for d in add_documents(context).documents()}
    held = {files.pop(one.name) for one in found.held}
    assert describe_learned(context.store, held) is None
    for name in ("docs/copy.md", "docs/contact.md"):
        said = describe_learned(context.store, {files[name]}) or ""
        assert all(id[:12] in said for id in (version.parent, made.agent.model[8:])), name
    assert made.warnings[0].startswith("1 of 13 documents is kept out of the training")
    monkeypatch.setattr(tuning, "tune", lambda context, agent_of: replace(made, warnings=()))
    assert fine_tune.build(context.on_documents()).warnings == made.warnings[:1]
    assert fine_tune.build(context).warnings == ()
    assert re.search(r"[012] of 12 validation rows that name a document", made.warnings[0])
    again, result = train_version(context.on_documents())
    assert again == version.parent, "found done: nothing of it depends on the rows"
    assert made.setup_seconds > result.seconds, "it costs both trainings"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "no documents"),
        (["One."], "one document to learn"),
        (["One.", "Two."], "too few for a training"),
    ],
)
def test_too_little_text_is_refused(
    project: Callable[..., Context], tmp_path: Path, texts: list[str], said: str
) -> None:
    context = project(rule=None, paths=["few"]).on_documents()
    (tmp_path / "few").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "few" / f"{number}.md").write_text(text)
    with pytest.raises(DataError, match=said):
        train_version(context)


def test_what_does_not_go_with_documents_is_refused(project: Callable[..., Context]) -> None:
    context = project(rule=None).on_documents()
    with pytest.raises(ConfigError, match="the method text learns from documents"):
        train_version(context.with_training(teacher="large"))
    alone = context.config.model_copy(update={"knowledge": None})
    with pytest.raises(ConfigError, match="there is no `knowledge`"):
        train_version(replace(context, bench=replace(context.bench, config=alone)))
