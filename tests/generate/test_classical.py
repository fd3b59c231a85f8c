"""Classical baselines: what they predict, and that nothing is lost when they are kept."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assay.errors import DataError, ModelError
from assay.example import Example, Message
from assay.generate.batch import Request
from assay.generate.classical import (
    TFIDF_GRID,
    ClassicalEngine,
    ClassicalModel,
    TfidfSettings,
    dump_classical,
    fit_constant,
    fit_tfidf,
    load_classical,
)

WORDS = {"card": "my bank card is lost", "cash": "cash machine ate it", "fee": "why this big fee"}


def examples(labels: tuple[str, ...] = ("card", "cash", "fee"), each: int = 12) -> list[Example]:
    draw = random.Random(0)
    made = []
    for number in range(each * len(labels)):
        label = labels[number % len(labels)]
        words = WORDS[label].split()
        draw.shuffle(words)
        made.append(Example.of(" ".join(words[:4]), label, id=f"row-{number}"))
    return made


def asked(text: str) -> Request:
    return Request((Message("system", "card card card"), Message("user", text)))


@pytest.mark.parametrize("settings", [*TFIDF_GRID, TfidfSettings(word=None, char=(2, 3))])
@pytest.mark.parametrize("labels", [("card", "cash", "fee"), ("card", "fee")])
def test_tfidf_learns_and_predicts_the_same_after_a_round_trip(
    settings: TfidfSettings, labels: tuple[str, ...]
) -> None:
    model = fit_tfidf(examples(labels), settings)
    again = load_classical(dump_classical(model))
    texts = [*WORDS.values(), "", "nothing known", "card fee"]
    np.testing.assert_array_equal(model.log_probabilities(texts), again.log_probabilities(texts))
    np.testing.assert_allclose(np.exp(again.log_probabilities(texts)).sum(axis=1), 1.0)
    answers = ClassicalEngine(again).answer([asked(WORDS[label]) for label in labels])
    assert tuple(a.text for a in answers) == labels
    assert all(a.logprob is not None and -1 < a.logprob <= 0 for a in answers)
    assert dump_classical(again) == dump_classical(model)


def test_the_probabilities_are_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train = examples()
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    features = vectorizer.fit_transform([e.input for e in train])
    theirs = LogisticRegression(C=10, max_iter=1000).fit(features, [e.output for e in train])
    model = fit_tfidf(train, TfidfSettings(word=(1, 1), strength=10))
    texts = ["my card", "cash fee", "bank"]
    np.testing.assert_allclose(
        np.exp(model.log_probabilities(texts)),
        theirs.predict_proba(vectorizer.transform(texts)),
        atol=1e-5,
    )


def test_fitting_twice_gives_the_same_bytes() -> None:
    settings = TFIDF_GRID[-1]
    first, second = (dump_classical(fit_tfidf(examples(), settings)) for _ in range(2))
    assert first == second
    assert first.find(b"sklearn") == -1


def test_weight_zero_teaches_nothing() -> None:
    train = examples()
    wrong = [Example.of(WORDS["card"], "cash", id=f"w-{i}", weight=0.0) for i in range(50)]
    model = fit_tfidf([*train, *wrong], TFIDF_GRID[0])
    assert ClassicalEngine(model).answer([asked(WORDS["card"])])[0].text == "card"


def test_a_constant_says_how_frequent_it_is() -> None:
    train = [*examples(("fee", "cash"), 3), *examples(("card",), 1)]
    model = load_classical(dump_classical(fit_constant([e.output for e in train], "cash")))
    answers = ClassicalEngine(model).answer([asked("anything"), asked("")])
    assert [a.text for a in answers] == ["cash", "cash"]
    assert answers[0].logprob == pytest.approx(math.log(4 / 9))
    [empty] = ClassicalEngine(fit_constant([e.output for e in train], "")).answer(
        [asked("anything")]
    )
    assert (empty.text, empty.logprob) == ("", pytest.approx(math.log(1 / 9)))


def test_one_label_and_no_words_are_told() -> None:
    with pytest.raises(DataError, match="label 'card'"):
        fit_tfidf(examples(("card",)), TFIDF_GRID[0])
    blank = [Example.of("...", label) for label in ("a", "b")]
    with pytest.raises(DataError, match="no words"):
        fit_tfidf(blank, TFIDF_GRID[0])
    with pytest.raises(DataError, match="no training examples"):
        fit_tfidf([], TFIDF_GRID[0])


def test_parts_that_do_not_fit_together_are_refused() -> None:
    made = fit_tfidf(examples(), TFIDF_GRID[2])
    wrong = (
        replace(made, labels=made.labels[1:]),
        replace(made, vocabulary=made.vocabulary[:1]),
        replace(made, vocabulary=tuple(reversed([*made.vocabulary, ()]))),
        replace(made, tensors={**made.tensors, "idf": made.tensors["idf"][1:]}),
        replace(fit_constant(["card"], "card"), labels=()),
    )
    for one in wrong:
        with pytest.raises(ModelError, match="damaged"):
            load_classical(dump_classical(one))


def test_models_differ_in_identity() -> None:
    train = examples()
    models: list[ClassicalModel] = [fit_constant(["card"], "card"), fit_tfidf(train, TFIDF_GRID[0])]
    models.append(fit_tfidf(train[:20], TFIDF_GRID[0]))
    identities = {json.dumps(ClassicalEngine(m).identity) for m in models}
    assert len(identities) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "every", "plain", "best"),
    [(700, 7, 0.625, 0.64), pytest.param(2000, 1, 0.795, 0.80, marks=pytest.mark.soak)],
)
def test_banking77_comes_out_as_measured_elsewhere(
    data_folder: Path, rows: int, every: int, plain: float, best: float
) -> None:
    def read(name: str) -> list[Example]:
        lines = (data_folder / "banking77" / name).read_text().splitlines()
        return [Example.of(r["text"], r["label"], id=r["id"]) for r in map(json.loads, lines)]

    train, test = read("train.jsonl"), read("test.jsonl")[::every]
    random.Random(0).shuffle(train)
    train, validation = train[:rows], train[rows : rows + 600 // every]

    def accuracy(model: ClassicalModel, rows: list[Example]) -> float:
        answers = ClassicalEngine(model).answer([asked(e.input) for e in rows])
        return sum(a.text == e.output for a, e in zip(answers, rows, strict=True)) / len(rows)

    fitted = [fit_tfidf(train, settings) for settings in TFIDF_GRID]
    assert accuracy(fitted[0], test) == pytest.approx(plain, abs=0.015)
    chosen = max(fitted, key=lambda model: accuracy(model, validation))
    assert accuracy(chosen, test) >= best
