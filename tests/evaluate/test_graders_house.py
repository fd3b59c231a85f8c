"""terms (domain terminology) and style (brand voice)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.config import GraderSpec
from assay.errors import ConfigError
from assay.evaluate.graders import AnswerScores, GradingContext, grade, mine_terms
from assay.evaluate.graders.style import RULES, sentences
from assay.example import Example


def graded(
    name: str, answer: str, *accepted: str, root: Path | None = None, **s: Any
) -> AnswerScores:
    example = Example.of("question", accepted[0], references=accepted[1:])
    context = GradingContext(root=root or Path())
    return grade(GraderSpec(name=name, settings=s), [answer], [example], context)


GLOSSARY = ["hypertension", "type 2 diabetes", "C++", "GERD"]
REFERENCE = "Patient with hypertension and type 2 diabetes."


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Hypertension; type 2\n diabetes", 1),
        ("has hypertension", 0.5),
        ("high blood pressure", 0),
        ("hypertensional", 0),
        ("hypertension, GERD, C++", 0.5),  # terms that were not asked for neither help nor hurt
    ],
)
def test_terms_is_the_share_of_the_references_terms_that_is_used(
    answer: str, expected: float
) -> None:
    assert graded("terms", answer, REFERENCE, glossary=GLOSSARY).scores == [expected]


def test_a_reference_that_asks_for_nothing_hides_no_missed_term() -> None:
    accepted = (REFERENCE, "Something else altogether.")
    for answer, expected in (("no term", 0), (REFERENCE, 1)):
        found = graded("terms", answer, *accepted, glossary=GLOSSARY)
        assert (found.scores, found.counted) == ([expected], [True])


def test_terms_names_what_is_missing() -> None:
    note = graded("terms", "hypertension", REFERENCE, glossary=GLOSSARY).notes[0]
    assert note == "missing: type 2 diabetes"


def test_a_term_may_end_with_a_sign() -> None:
    assert graded("terms", "We use C++.", "C++", glossary=GLOSSARY).scores == [1]
    assert graded("terms", "We use C.", "C++", glossary=GLOSSARY).scores == [0]


def test_case_counts_if_asked() -> None:
    settings = {"glossary": ["GERD"], "case_sensitive": True}
    assert graded("terms", "gerd", "GERD", **settings).scores == [0]


def test_forbidden_terms_cost_points() -> None:
    settings = {"glossary": GLOSSARY, "forbidden": ["sugar disease", "old"]}
    bad = graded("terms", "hypertension, type 2 diabetes, old", REFERENCE, **settings)
    assert (bad.scores, bad.notes) == ([0], ["forbidden: old"])
    mild = graded(
        "terms", "hypertension, type 2 diabetes, OLD", REFERENCE, penalty=0.25, **settings
    )
    assert mild.scores == [0.75]
    assert graded("terms", "bold golden", "nothing", **settings).scores == [1]


def test_variants_must_not_stand_for_the_preferred_term() -> None:
    settings = {"glossary": {"e-mail address": ["e-mail", "mail"]}, "penalty": 0.5}
    reference = "Enter your e-mail address."
    assert graded("terms", "your e-mail address", reference, **settings).scores == [1]
    both = graded("terms", "your e-mail address or mail", reference, **settings)
    assert (both.scores, both.notes) == ([0.5], ["forbidden: mail"])
    assert graded("terms", "your e-mail", reference, **settings).scores == [0]


def test_an_example_that_asks_for_no_term_is_not_counted() -> None:
    result = graded("terms", "x", "nothing special", glossary=GLOSSARY)
    assert (result.counted, result.scores, result.mean) == ([False], [1], None)
    assert graded("terms", "x", "nothing", glossary=GLOSSARY, forbidden=["y"]).counted == [True]


def test_a_glossary_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("# ours\nhypertension\n\ntype 2 diabetes  # not 1\n")
    settings = {"root": tmp_path, "file": "terms.txt"}
    assert graded("terms", "hypertension", REFERENCE, **settings).scores == [0.5]
    (tmp_path / "terms.json").write_text('{"hypertension": ["high blood pressure"]}')
    settings = {"root": tmp_path, "file": "terms.json"}
    assert graded("terms", "high blood pressure", REFERENCE, **settings).scores == [0]
    assert graded("terms", "hypertension", REFERENCE, **settings).scores == [1]


@pytest.mark.parametrize(
    ("name", "text"), [("g.json", "{"), ("g.json", "[1]"), ("g.json", "[]"), ("g.txt", "# none\n")]
)
def test_a_broken_glossary_is_explained(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(
        ConfigError, match=rf"{name}: (this file is not a glossary|there are no terms)"
    ):
        graded("terms", "x", "x", root=tmp_path, file=name)


def test_mined_terms_are_typical_of_the_outputs() -> None:
    pairs = [
        ("my blood pressure is high and I am tired", "Hypertension and fatigue, patient tired."),
        ("my head hurts and I am tired", "Cephalalgia and fatigue."),
        ("my pressure is high", "Hypertension; patient denies cephalalgia."),
    ]
    mined = mine_terms([Example.of(*pair) for pair in pairs], 4)
    assert sorted(mined) == ["cephalalgia", "fatigue", "hypertension", "patient"]
    assert mine_terms([], 3) == []


# --- style

STYLE = [
    ("min_words", 3, "one two three", "one two"),
    ("max_words", 2, "don't stop", "one two three"),
    ("min_sentences", 2, "One. Two.", "One, two."),
    ("max_sentences", 1, "Dr. Who, e.g. the third.", "One. Two."),
    ("min_chars", 3, "abc", "ab"),
    ("max_chars", 3, " abc ", "abcd"),
    ("person", "first", "We are here", "They are here"),
    ("person", "second", "You are here", "They are here"),
    ("person", "third", "They moved to the US", "Tell us more"),
    ("person", "third", "They are here", "It is yours"),
    ("avoid", ["cheap", "a lot"], "cheaper", "so  A LOT"),
    ("use", ["please", "thanks"], "Please, and THANKS", "please"),
    ("starts_with", "Dear", "dear Ada", "Hi Ada, dear"),
    ("starts_with", ["Hi", "Dear"], "Dear Ada", "Ada"),
    ("ends_with", "Kind regards", "Bye. kind regards", "Kind regards, Bob"),
    ("format", "plain", "All * plain_text_here 2. - x", "**bold**"),
    ("format", "plain", "Just text - really", "- a\n- b"),
    ("format", "bullets", "- a\n\n* b\n2. c", "- a\nb"),
    ("format", "markdown", "# Head\ntext", "text"),
    ("format", "json", '{"a": 1}', "a: 1"),
    ("no_exclamation", True, "Great.", "Great!"),
    ("no_emoji", True, "Great © 5 * #", "Great 🎉"),
    ("sentence_case", True, "One. Two by 2. NATO", "One. two"),
    ("sentence_case", True, "One", "PLEASE read"),
]


@pytest.mark.parametrize(("rule", "value", "good", "bad"), STYLE)
def test_each_rule_is_kept_or_broken(rule: str, value: Any, good: str, bad: str) -> None:
    assert graded("style", good, "x", **{rule: value}).scores == [1]
    broken = graded("style", bad, "x", **{rule: value})
    assert broken.scores == [0]
    assert broken.notes[0] is not None
    assert broken.notes[0].startswith(f"{rule}: ")


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, *_ in STYLE} == set(RULES)


def test_style_is_the_share_of_rules_kept() -> None:
    rules = {"max_words": 3, "no_exclamation": True, "avoid": ["cheap"], "person": "second"}
    result = graded("style", "Buy cheap things now!", "x", **rules)
    assert result.scores == [0]
    result = graded("style", "You save a lot!", "x", **rules)
    assert result.scores == [0.5]
    assert result.notes == ["max_words: 4, at most 3; no_exclamation: has one"]


def test_a_blank_answer_keeps_no_rule() -> None:
    result = graded("style", " \n", "x", max_words=3)
    assert (result.scores, result.parsed) == ([0], [False])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two? Three!", 3),
        ("It costs 3.50 francs.", 1),
        ("Mr. Smith came, i.e. late.", 1),
        ("He said “go.” She went.", 2),
        ("Hello", 1),
        ("Title\n\nBody here", 2),
        ("- one\n- two", 2),
        ("...", 0),
        ("", 0),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(sentences(text)) == count
