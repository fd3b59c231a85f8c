"""Every grader scores every text from 0 to 1, and the expected answer itself with 1."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from assay.config import GraderSpec
from assay.evaluate.graders import GRADERS, GradingContext, grade, parse_json
from assay.example import Example

untimed = profile(deadline=None)  # the first call loads a library
CONTEXT = GradingContext(
    labels=["yes", "no", "Not sure."],
    output_schema={"type": ["object", "array", "string", "number", "boolean", "null"]},
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
RECORDS = JSON.map(json.dumps).filter(lambda text: parse_json(text) is not None)
# Surrogates too: a model's bytes can be decoded to anything.
WILD = st.text(st.characters(codec=None), max_size=60)
TEXTS = (
    WILD
    | RECORDS
    | st.sampled_from(["yes", "yeah", "Not sure.", "1,234.5", "-3e9", "```json\n{}\n```"])
)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str)
SAYING = WILD.filter(lambda text: bool(text.strip()))

CASES: dict[str, tuple[dict[str, Any], st.SearchStrategy[str]]] = {
    "exact": ({"normalise": True}, WILD),
    "contains": ({"max_words": 10_000}, WILD),
    "label-accuracy": ({}, st.sampled_from(list(CONTEXT.labels or ()))),
    "numeric": ({"tolerance": 0.01, "relative": 0.1}, NUMBERS),
    "regex": ({"pattern": r"(?s).*"}, WILD),
    "json-valid": ({}, RECORDS),
    "schema-valid": ({}, RECORDS),
    "record-exact": ({"normalise": True}, RECORDS),
    "field-precision": ({"normalise": True}, RECORDS),
    "field-recall": ({}, RECORDS),
    "field-f1": ({"fields": ["a"]}, RECORDS),
    "token-f1": ({}, WILD),
    "rouge-l": ({}, WILD),
    "chrf": ({}, WILD),
    "terms": ({"glossary": {"yes": ["yeah"], "0": []}, "penalty": 0.3}, st.just("yes, 0")),
    "style": ({"max_chars": 10_000, "min_words": 0, "max_sentences": 99}, SAYING),
    "call-exact": ({}, SAYING),
    "call-name": ({}, SAYING),
    "argument-f1": ({}, SAYING),
    "no-call": ({}, SAYING),
    "assertions": ({}, SAYING),
    "consistency": ({"compare": "token-f1"}, SAYING),
}
RUNS_CODE = {"python"}  # its scores are checked by the worker, see tests/evaluate/test_trusted.py
ASKS_MODELS = {"judge"}  # see tests/evaluate/test_judge.py


def score(name: str, answers: list[str], references: list[str], settings: Any) -> list[float]:
    rows = [
        Example.of("q", text, id=str(n), group="paraphrases") for n, text in enumerate(references)
    ]
    context = replace(CONTEXT, task="tools") if "tools" in GRADERS[name].needs else CONTEXT
    return grade(GraderSpec(name=name, settings=settings), answers, rows, context).scores


def test_every_grader_has_a_case() -> None:
    assert set(CASES) | RUNS_CODE | ASKS_MODELS == set(GRADERS)


@pytest.mark.parametrize("name", CASES)
def test_every_text_scores_from_0_to_1(name: str) -> None:
    settings, references = CASES[name]

    @untimed
    @given(answers=st.lists(TEXTS, min_size=3, max_size=3), reference=references)
    def holds(answers: list[str], reference: str) -> None:
        scores = score(name, answers, [reference] * 3, settings)
        assert all(0 <= value <= 1 for value in scores)

    holds()


@pytest.mark.parametrize("name", CASES)
def test_the_expected_answer_scores_1(name: str) -> None:
    settings, references = CASES[name]

    @untimed
    @given(reference=references)
    def holds(reference: str) -> None:
        assert score(name, [reference] * 2, [reference] * 2, settings) == [1, 1]

    holds()


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"consistency"}))
def test_scores_do_not_depend_on_the_other_examples_and_their_order(name: str) -> None:
    settings, references = CASES[name]

    @untimed
    @given(pairs=st.lists(st.tuples(TEXTS, references), min_size=1, max_size=4))
    def holds(pairs: list[tuple[str, str]]) -> None:
        answers, wanted = (list(side) for side in zip(*pairs, strict=True))
        together = score(name, answers, wanted, settings)
        alone = [score(name, [answer], [reference], settings) for answer, reference in pairs]
        assert [[value] for value in together] == alone
        assert together[::-1] == score(name, answers[::-1], wanted[::-1], settings)

    holds()


def test_every_code_point_can_be_answered() -> None:
    everything = "".join(map(chr, range(0x3000))) + "\ud800\U0001f600\U0010ffff"
    for name, (settings, _) in CASES.items():
        reference = "1" if name not in ("label-accuracy", "terms") else "yes"
        (value, _) = score(name, [everything, ""], [reference] * 2, settings)
        assert 0 <= value <= 1
