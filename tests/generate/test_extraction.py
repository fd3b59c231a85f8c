"""Records field by field: values by path, spans in a text, what a schema asks for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.knowledge.wordy import Wordy

from assay.errors import ModelError
from assay.example import Message
from assay.generate import extraction
from assay.generate.batch import Answer, Request
from assay.generate.extraction import (
    ExtractEngine,
    ExtractModel,
    Field,
    dump_extract,
    load_extract,
    read_spans,
)
from assay.generate.fields import fields_of, record_of, usual_objects
from assay.generate.nearest import distinct
from assay.generate.tagger import find, fit_tagger

RECORDS: list[Any] = [
    {"a": 1, "b": {"c": "x", "d": None}, "e": [1, {"f": 2}], "g": {}},
    {"a": 2.5, "b": {"d": True}, "g": {}},
    {"b": {"c": "ü"}, "g": {"h": ""}},
]
NAMES = (
    "Ann", "Bob Lee", "Cy", "Dee Dee", "Eve", "Finn Hall", "Gus", "Hal Moss", "Ivy", "Jan Ole",
)  # fmt: skip
NOTHING = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)


def test_records_come_back_from_their_fields() -> None:
    objects = usual_objects(RECORDS)
    assert objects == [(), ("b",), ("g",)]
    for record in RECORDS:
        assert record_of(fields_of(record), objects) == record
    assert fields_of(RECORDS[0])[("b", "d")] == "null"
    for value in ([1, 2], "text", 7, None):
        assert record_of(fields_of(value), usual_objects([value])) == value
    assert record_of({("a",): "1", ("a", "b"): "2"}, ()) == {"a": {"b": 2}}


def test_a_value_is_found_as_whole_words() -> None:
    assert find("concatenate a cat, no scat", "cat") == (14, 17)
    assert find("cats", "cat") is None
    assert find("Jan  Ole", "Jan Ole") is None
    assert find("anything", " ") is None


def test_a_tagger_finds_values_that_it_never_saw() -> None:
    texts = [f"please call {name} {way}" for name in NAMES for way in ("now", "at noon", "today")]
    values = [{4: [name]} for name in NAMES for _ in range(3)]
    tagger = fit_tagger(texts, values)
    assert tagger is not None
    for text, name in (("please call Zoe Zed today", "Zoe Zed"), ("please call Max now", "Max")):
        [(field, [(start, end)])] = tagger.spans(text).items()
        assert (field, text[start:end]) == (4, name)
    assert tagger.spans("") == {}
    assert fit_tagger(["nothing here"], [{0: ["elsewhere"]}]) is None


def test_forms_of_values() -> None:
    def value(form: Any, text: str, *spans: tuple[int, int]) -> str:
        return read_spans(Field(("f",), "spans", (), *NOTHING, form, True), text, spans)

    assert value("text", 'say "x" now', (4, 7)) == '"\\"x\\""'
    assert value("number", "it costs 1,200 now", (9, 14)) == "1200"
    for word in ("much", "NaN", "true", "1e999", "9" * 400, "9" * 5000):
        assert value("number", word, (0, len(word))) == ""
    assert value("list", "a and b", (0, 1), (6, 7)) == '["a", "b"]'
    assert value("list", "a and b") == ""


def model() -> ExtractModel:
    embedder = Wordy()
    rows = {
        "call Ann now": {"who": "Ann", "when": "now", "kind": "call"},
        "write to Bob": {"who": "Bob", "kind": "mail"},
        "write to Cy by noon": {"who": "Cy", "when": "noon", "kind": "mail"},
    }
    answers, places = distinct([json.dumps(record) for record in rows.values()])
    vectors = embedder.encode(list(rows))
    tagger = fit_tagger(list(rows), [{0: [record["who"]]} for record in rows.values()])
    classes = ('"call"', '"mail"')
    kind = Field(
        ("kind",),
        "embedding",
        classes,
        np.stack([vectors[0], vectors[1] + vectors[2]]),
        np.zeros(2, np.float32),
        "text",
        False,
    )
    who = Field(("who",), "spans", (), *NOTHING, "text", False)
    when = Field(("when",), "nearest", (), *NOTHING, "text", True)
    return ExtractModel(
        "words",
        Wordy().identity,
        (who, when, kind),
        ((),),
        answers,
        places,
        vectors,
        tagger,
        "0" * 64,
    )


def answer(text: str, schema: dict[str, Any] | None = None) -> Answer:
    kept = load_extract(dump_extract(model()))
    request = Request((Message("system", "Be kind."), Message("user", text)), schema=schema)
    [given] = ExtractEngine(kept, Wordy(), "0").answer([request])
    return given


def test_each_field_comes_from_its_own_way() -> None:
    assert json.loads(answer("write to Bob").text) == {"who": "Bob", "kind": "mail"}
    assert json.loads(answer("write to Zed by noon").text) == {
        "who": "Zed",
        "when": "noon",
        "kind": "mail",
    }


def test_an_answer_follows_the_schema_or_is_none() -> None:
    names = {"type": "object", "properties": {"who": {"enum": ["Ann", "Bob", "Cy"]}}}
    assert json.loads(answer("write to Zed by noon", names).text)["who"] == "Cy"
    assert json.loads(answer("write to Bob", names).text) == {"who": "Bob", "kind": "mail"}
    ann = {**names, "required": ["when"], "properties": {"who": {"enum": ["Ann"]}}}
    assert json.loads(answer("write to Bob", ann).text)["who"] == "Ann"
    never = answer("write to Bob", {"type": "array"})
    assert (never.text, never.finish) == ("", "refused")


def test_parts_that_do_not_fit_together_are_refused() -> None:
    made = model()
    who, when, kind = made.fields
    assert made.tagger is not None
    wrong = (
        replace(made, places=made.places + 1),
        replace(made, vectors=made.vectors[:, :-1]),
        replace(made, answers=("{", *made.answers[1:])),
        replace(made, fields=(who, when, replace(kind, classes=("call", "mail")))),
        replace(made, fields=(who, when, replace(kind, intercept=kind.intercept[:1]))),
        replace(made, fields=(who, when, replace(kind, method="words"))),
        replace(made, tagger=replace(made.tagger, transitions=made.tagger.weights)),
        replace(made, tagger=replace(made.tagger, tags=("O", "B-x"))),
    )
    for one in wrong:
        with pytest.raises(ModelError, match="damaged"):
            load_extract(dump_extract(one))
    with pytest.raises(ModelError, match="not the one"):
        ExtractEngine(made, Wordy(dimension=8), "0")


def test_so_many_records_are_held_against_a_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    ann = {"type": "object", "required": ["when"], "properties": {"who": {"enum": ["Ann"]}}}
    assert answer("write to Bob", ann).finish == "stop"
    monkeypatch.setattr(extraction, "MOST_TRIED", 1)
    assert answer("write to Bob", ann).finish == "refused"


def test_no_texts_have_no_values() -> None:
    words = Field(("kind",), "words", ("1",), np.zeros((1, 2**14)), np.zeros(1), "text", False)
    made = replace(model(), fields=(words,))
    assert ExtractEngine(made, Wordy(), "0").values([], made.vectors[:0]) == []


def test_a_tagger_is_learned_alike_whatever_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts, values = [f"call {name} now" for name in NAMES], [{0: [name]} for name in NAMES]
    plain = fit_tagger(texts, values)
    monkeypatch.setenv("C", "0.001")
    again = fit_tagger(texts, values)
    assert plain is not None
    assert again is not None
    np.testing.assert_array_equal(plain.weights, again.weights)
