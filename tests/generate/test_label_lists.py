"""Several labels a row: what is learned, given, kept, and how sure it is of a list."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.models.tiny_embedder import write_embedder

from assay.data.propose import LISTS_PROMPT, propose
from assay.errors import DataError
from assay.example import Example
from assay.generate.embedding_classifier import (
    HeadSettings,
    dump_embedding_classifier,
    fit_head,
    load_embedding_classifier,
    set_temperature,
)
from assay.generate.label_lists import Several, choose_threshold, read_list
from assay.models.embed import Embedder, load_embedder

WORDS = {"card": "bank card", "cash": "cash machine", "fee": "big fee"}
LABELS = tuple(WORDS)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(str(write_embedder(tmp_path_factory.mktemp("embedder"))))


def rows(each: int = 12) -> list[Example]:
    """Every set of one label or more, told by its words, the lists in any order."""
    made = []
    for number in range(7 * each):
        held = [label for place, label in enumerate(LABELS) if (number % 7 + 1) >> place & 1]
        text = " ".join([WORDS[label] for label in held] + ["the", "now", "a"][: number % 3])
        held = held[::-1] if number % 2 else held
        made.append(Example.of(text, json.dumps(held), id=str(number)))
    return made


def test_each_label_is_learned_against_the_rest_and_kept(embedder: Embedder) -> None:
    examples = rows()
    texts = [e.input for e in examples]
    vectors = embedder.encode(texts)
    model = fit_head(examples, vectors, HeadSettings(30.0), embedder, lists=True)
    assert model.labels == LABELS
    assert model.several == Several(0.5, may_be_empty=False)
    cash = [int("cash" in e.output) for e in examples]
    theirs = LogisticRegression(C=30, max_iter=1000).fit(vectors, cash)
    found = np.exp(model.log_probabilities(texts, vectors))
    np.testing.assert_allclose(found[:, 1], theirs.predict_proba(vectors)[:, 1], atol=1e-4)
    calm = set_temperature(model, examples, vectors)
    again = load_embedding_classifier(dump_embedding_classifier(calm))
    assert again.answers(texts, vectors) == calm.answers(texts, vectors)
    answers = [read_list(text) for text, _ in calm.answers(texts, vectors)]
    assert sum(a == read_list(e.output) for a, e in zip(answers, examples, strict=True)) > 80


def test_rows_without_labels_are_evidence_of_how_sure_it_is(embedder: Embedder) -> None:
    examples = rows()
    vectors = embedder.encode([e.input for e in examples])
    model = fit_head(examples, vectors, HeadSettings(30.0), embedder, lists=True)
    none = [Example.of(e.input, "[]") for e in examples]  # it is sure, and always wrong
    assert set_temperature(model, none, vectors).temperature > 5
    unknown = [Example.of(e.input, '["card", "theft"]') for e in examples]
    assert set_temperature(model, unknown, vectors) is model


def test_a_list_is_as_probable_as_all_its_labels_together() -> None:
    logs = np.log([[0.9, 0.2, 0.7], [0.1, 0.3, 0.2]])
    [(first, sure), (second, unsure)] = Several(0.5, False).answers(LABELS, logs)
    assert (first, second) == ('["card", "fee"]', '["cash"]')
    assert np.exp([sure, unsure]) == pytest.approx([0.9 * 0.8 * 0.7, 0.9 * 0.3 * 0.8])
    assert Several(0.5, True).answers(LABELS, logs)[1][0] == "[]"


def test_the_threshold_is_the_one_of_the_best_f1() -> None:
    wanted = [Example.of("a", '["card", "cash"]'), Example.of("b", '["fee"]')]
    chances = np.array([[0.9, 0.32, 0.22], [0.1, 0.22, 0.9]])
    found = choose_threshold(Several(), LABELS, chances, wanted)
    assert found.threshold == 0.3
    assert choose_threshold(Several(), LABELS, chances[:0], []).threshold == 0.5


def test_what_is_no_list_is_refused(embedder: Embedder) -> None:
    broken = [*rows(1), Example.of("fee", '{"label": "fee"}', id="odd")]
    vectors = embedder.encode([e.input for e in broken])
    with pytest.raises(DataError, match="not a list of labels") as refused:
        fit_head(broken, vectors, HeadSettings(1.0), embedder, lists=True)
    assert refused.value.where == "example odd"


def test_init_recognises_lists_of_a_closed_set() -> None:
    found = propose(rows(), held_outputs=['["theft"]'])
    schema = {"type": "array", "items": {"type": "string", "enum": [*LABELS, "theft"]}}
    assert (found.task, found.schema, found.primary) == ("json", schema, "field-f1")
    assert "- theft" in found.system_prompt
    free = [Example.of(str(n), json.dumps([f"word {n}", "x"])) for n in range(40)]
    assert propose(free).primary == "record-exact"
    doubled = [*rows(1), Example.of("a", '["card", "card"]')]
    assert propose(doubled).primary == "record-exact"
    more = propose([*rows(), doubled[-1]])
    assert (more.primary, more.training_prompt) == ("record-exact", LISTS_PROMPT)
    assert not any("0 fields" in reason for reason in more.reasons)
