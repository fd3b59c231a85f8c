"""Logistic regression over an embedder's vectors: what it predicts, refuses and keeps."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.generate.test_classical import asked, examples
from tests.models.tiny_embedder import write_embedder

from assay.errors import DataError, ModelError
from assay.example import Example
from assay.generate.embedding_classifier import (
    Doubt,
    EmbeddingClassifier,
    EmbeddingEngine,
    HeadSettings,
    dump_embedding_classifier,
    fit_head,
    load_embedding_classifier,
    set_doubt,
    set_temperature,
)
from assay.generate.registry import EngineResources, open_batch, open_stream
from assay.generate.stream import End, Piece, Sampling
from assay.models.embed import Embedder, load_embedder
from assay.store import blobs
from assay.store.store import Store

SETTINGS = (
    HeadSettings(10.0),
    HeadSettings(10.0, in_pieces=True),
    HeadSettings(10.0, words=0.5),
)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(str(write_embedder(tmp_path_factory.mktemp("embedder"))))


def learned(
    embedder: Embedder, settings: HeadSettings = SETTINGS[0], labels: tuple[str, ...] = ()
) -> EmbeddingClassifier:
    rows = examples(labels) if labels else examples()
    vectors = settings.embed(embedder, [e.input for e in rows])
    return fit_head(rows, vectors, settings, embedder)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("labels", [("card", "cash", "fee"), ("card", "fee")])
def test_it_learns_and_predicts_the_same_after_a_round_trip(
    embedder: Embedder, settings: HeadSettings, labels: tuple[str, ...]
) -> None:
    model = replace(learned(embedder, settings, labels), temperature=0.5, doubt=Doubt("fee", 0.2))
    again = load_embedding_classifier(dump_embedding_classifier(model))
    texts = ["my card is lost", "", "nothing known", "big fee " * 40]
    vectors = settings.embed(embedder, texts)
    np.testing.assert_array_equal(
        model.log_probabilities(texts, vectors), again.log_probabilities(texts, vectors)
    )
    sums = np.exp(again.log_probabilities(texts, vectors)).sum(axis=1)
    np.testing.assert_allclose(sums, 1.0)
    assert again.answers(texts, vectors) == model.answers(texts, vectors)
    answers = EmbeddingEngine(again, embedder).answer([asked("bank card lost"), asked("big fee")])
    assert [a.text for a in answers] == ["card", "fee"]
    assert all(a.logprob is not None and -1 < a.logprob <= 0 for a in answers)
    assert dump_embedding_classifier(again) == dump_embedding_classifier(model)


def test_the_probabilities_are_scikit_learns(embedder: Embedder) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = examples()
    vectors = embedder.encode([e.input for e in rows])
    theirs = LogisticRegression(C=10, max_iter=1000).fit(vectors, [e.output for e in rows])
    texts = ["my card", "cash fee", "bank"]
    seen = embedder.encode(texts)
    logs = learned(embedder).log_probabilities(texts, seen)
    np.testing.assert_allclose(np.exp(logs), theirs.predict_proba(seen), atol=1e-4)


def test_the_temperature_brings_confidence_to_what_is_right(embedder: Embedder) -> None:
    draw = random.Random(1)
    rows = [
        replace(e, messages=Example.of(e.input, draw.choice(["card", "cash", "fee"])).messages)
        if draw.random() < 0.4
        else e
        for e in examples(each=100)
    ]
    sure = learned(embedder, HeadSettings(1000.0))
    vectors = embedder.encode([e.input for e in rows])

    def off(model: EmbeddingClassifier) -> float:
        answers = model.answers([e.input for e in rows], vectors)
        right = np.mean([a == e.output for (a, _), e in zip(answers, rows, strict=True)])
        return abs(float(np.mean([math.exp(log) for _, log in answers])) - float(right))

    assert off(sure) > 0.1
    made = set_temperature(sure, rows, vectors)
    assert made.temperature > 1
    assert off(made) < 0.05
    strange = [Example.of("bank", "not known")]
    assert set_temperature(sure, strange, vectors[:1]) == sure


def test_what_is_not_likely_enough_is_answered_with_the_label_for_none(
    embedder: Embedder,
) -> None:
    model = learned(embedder)
    rows = examples() + [Example.of(text, "none") for text in ("the a", "now", "it", "a the now")]
    vectors = embedder.encode([e.input for e in rows])
    doubts = set_doubt(model, "none", rows, vectors)
    assert doubts.doubt is not None
    answers = doubts.answers([e.input for e in rows], vectors)
    plain = model.answers([e.input for e in rows], vectors)
    given = sum(a == e.output for (a, _), e in zip(answers, rows, strict=True))
    assert given > sum(a == e.output for (a, _), e in zip(plain, rows, strict=True))
    for (label, log), (_, before) in zip(answers, plain, strict=True):
        if label == "none":
            assert math.exp(log) == pytest.approx(1 - math.exp(before))
    assert set_doubt(model, "none", examples(), vectors[: len(examples())]).doubt is None


def test_another_embedder_is_refused(embedder: Embedder, tmp_path: Path) -> None:
    other = load_embedder(str(write_embedder(tmp_path, seed=1)))
    with pytest.raises(ModelError, match="not the one that the classifier was trained with"):
        EmbeddingEngine(learned(embedder), other)
    store = Store(tmp_path / "state")
    strange = replace(learned(embedder), embedder=other.name)
    blob = blobs.put(store, dump_embedding_classifier(strange))
    with pytest.raises(ModelError, match="not the one"):
        open_batch(f"embedded:{blob}", EngineResources(store))


def test_its_label_is_streamed_as_one_piece_with_its_probability(
    embedder: Embedder, tmp_path: Path
) -> None:
    store = Store(tmp_path / "state")
    model = f"embedded:{blobs.put(store, dump_embedding_classifier(learned(embedder)))}"
    request = asked("bank card lost")
    sampling = Sampling(confidence=True)
    pieces = list(open_stream(model, EngineResources(store)).chat(request.messages, (), sampling))
    [answer] = open_batch(model, EngineResources(store)).answer([request])
    assert pieces[0] == Piece("card")
    assert isinstance(pieces[1], End)
    assert pieces[1].logprob == answer.logprob


def test_one_label_and_no_words_are_told(embedder: Embedder) -> None:
    with pytest.raises(DataError, match="label 'card'"):
        learned(embedder, labels=("card",))
    blank = [Example.of("...", label) for label in ("a", "b")]
    with pytest.raises(DataError, match="no words"):
        fit_head(blank, embedder.encode(["...", "..."]), SETTINGS[2], embedder)


def test_a_damaged_model_is_refused(embedder: Embedder) -> None:
    blob = dump_embedding_classifier(learned(embedder))
    for bad in (b"", b"nonsense", blob[:-3]):
        with pytest.raises(ModelError, match="damaged"):
            load_embedding_classifier(bad)


def test_parts_that_do_not_fit_together_are_refused(embedder: Embedder) -> None:
    made = learned(embedder, SETTINGS[2])
    wide, idf = made.tensors["coefficients"], made.tensors["idf"]
    wrong = (
        replace(made, labels=made.labels[1:]),
        replace(made, tensors={**made.tensors, "intercept": made.tensors["intercept"][:1]}),
        replace(made, tensors={**made.tensors, "idf": idf[:-1]}),
        replace(made, tensors={**made.tensors, "coefficients": wide[:, : len(idf)]}),
        replace(made, vocabulary=(made.vocabulary[1], *made.vocabulary[1:])),
        replace(made, temperature=0.0),
        replace(made, doubt=Doubt("fee", 2.0)),
    )
    for one in wrong:
        with pytest.raises(ModelError, match="damaged"):
            load_embedding_classifier(dump_embedding_classifier(one))
    narrow = replace(made, tensors={**made.tensors, "coefficients": wide[:, 1:]})
    with pytest.raises(ModelError, match="not the one"):
        EmbeddingEngine(narrow, embedder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "every", "least", "most"),
    [(700, 7, 0.755, 0.777), pytest.param(2000, 1, 0.875, 0.90, marks=pytest.mark.soak)],
)
def test_banking77_comes_out_as_measured(
    data_folder: Path, rows: int, every: int, least: float, most: float
) -> None:
    def read(name: str) -> list[Example]:
        lines = (data_folder / "banking77" / name).read_text().splitlines()
        return [Example.of(r["text"], r["label"], id=r["id"]) for r in map(json.loads, lines)]

    train, test = read("train.jsonl"), read("test.jsonl")[::every]
    random.Random(0).shuffle(train)
    starter = load_embedder()
    vectors = starter.encode([e.input for e in train[:rows]])
    engine = EmbeddingEngine(fit_head(train[:rows], vectors, SETTINGS[0], starter), starter)
    answers = engine.answer([asked(e.input) for e in test])
    right = sum(a.text == e.output for a, e in zip(answers, test, strict=True)) / len(test)
    assert least <= right <= most
