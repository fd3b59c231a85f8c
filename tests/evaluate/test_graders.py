"""The registry and the plain graders: exact, contains, label-accuracy, numeric, regex."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from assay.config import Config, GraderSpec
from assay.errors import ConfigError, DataError, UsageError
from assay.evaluate.graders import (
    GRADERS,
    AnswerScores,
    GradingContext,
    check_graders,
    grade,
    parse_answer,
    parse_json,
    parse_label,
)
from assay.example import Example

LABELS = ["billing", "login problem", "Other"]


def graded(
    name: str, answer: str, *accepted: str, context: GradingContext | None = None, **settings: Any
) -> AnswerScores:
    example = Example.of("question", accepted[0], references=accepted[1:])
    spec = GraderSpec(name=name, settings=settings)
    return grade(spec, [answer], [example], context or GradingContext(labels=LABELS))


def score(name: str, answer: str, *accepted: str, **settings: Any) -> float:
    return graded(name, answer, *accepted, **settings).scores[0]


def config(*graders: dict[str, Any], **more: Any) -> Config:
    raw = {
        "name": "support",
        "task": "label",
        "data": {"file": "data.csv"},
        "graders": list(graders),
        "primary": "exact",
        "candidates": ["prompt"],
    }
    return Config.model_validate(raw | more)


# --- the registry


def test_the_registry_has_every_grader_that_is_promised() -> None:
    assert set(GRADERS) == {
        *("exact", "contains", "label-accuracy", "numeric", "regex"),
        *("json-valid", "schema-valid"),
        *("call-exact", "call-name", "argument-f1", "no-call"),
        *("record-exact", "field-precision", "field-recall", "field-f1", "token-f1", "rouge-l"),
        *("chrf", "terms", "style", "assertions", "consistency", "judge", "python"),
    }


def test_a_grader_that_gives_points_says_what_for() -> None:
    """Else they would be taken for a share of right answers."""
    right_or_wrong = {name for name, grader in GRADERS.items() if not grader.points}
    assert right_or_wrong == {n for n, one in GRADERS.items() if one.explanation[:6] == "1 when"}


def test_an_unknown_grader_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"graders\.1: there is no grader 'exactt'.*mean exact"):
        check_graders(config({"name": "exact"}, {"name": "exactt"}))


def test_an_unknown_setting_is_an_error_that_names_it() -> None:
    bad = config({"name": "numeric", "settings": {"tolerence": 0.1}}, primary="numeric")
    with pytest.raises(ConfigError, match=r"numeric has no setting 'tolerence'.*tolerance"):
        check_graders(bad)


def test_a_setting_of_the_wrong_kind_is_an_error_that_names_it() -> None:
    bad = config({"name": "numeric", "settings": {"tolerance": "a bit"}}, primary="numeric")
    with pytest.raises(ConfigError, match=r"graders\.0, settings: tolerance: .*valid number"):
        check_graders(bad)


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("label-accuracy", {}, "needs the set of labels"),
        ("schema-valid", {}, "needs a JSON Schema"),
        ("regex", {"pattern": "("}, "not a valid regular expression"),
        ("regex", {}, "pattern: Field required"),
        ("style", {}, "at least one rule"),
        ("terms", {}, "a glossary, a file or forbidden terms"),
        ("terms", {"file": "no.txt"}, "cannot be read"),
        ("python", {"file": "no.py"}, "no.py of the grader python does not exist"),
    ],
)
def test_what_a_grader_lacks_is_found_early(
    name: str, settings: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        check_graders(config({"name": name, "settings": settings}), tmp_path)


def test_a_part_of_the_reward_that_names_no_grader_is_found_early() -> None:
    alike = {"type": "string_check", "name": "exakt"}

    def rewarded(name: str) -> Config:
        reward = {"type": "multi", "graders": {"a": alike, "b": name}}
        asked = {"name": "judge", "settings": {"as": "liked", "model": "remote:a/b"}}
        more = {"fine_tune": {"reinforcement": {"reward": reward}}}
        return config({"name": "exact"}, asked, **more)

    check_graders(rewarded("exact"))
    with pytest.raises(ConfigError, match="no grader 'exakt' among") as refused:
        check_graders(rewarded("exakt"))
    assert str(refused.value.where).endswith("reward.graders.b")
    with pytest.raises(ConfigError, match="liked compares two answers"):
        check_graders(rewarded("liked"))


def test_a_broken_schema_is_found_early() -> None:
    bad = config({"name": "schema-valid"}, output_schema={"type": "recrod"})
    with pytest.raises(ConfigError, match=r"output_schema, \$\.type: this is not a JSON Schema"):
        check_graders(bad)


def test_two_graders_with_one_name_are_an_error_unless_one_is_renamed() -> None:
    loose = {"name": "exact", "settings": {"normalise": True}}
    with pytest.raises(ConfigError, match="two graders are called 'exact'"):
        check_graders(config({"name": "exact"}, loose))
    renamed = {"name": "exact", "settings": {"normalise": True, "as": "exact-loose"}}
    check_graders(config({"name": "exact"}, renamed))


def test_answers_and_examples_have_to_match() -> None:
    with pytest.raises(ValueError, match="2 answers for 1 examples"):
        grade(GraderSpec(name="exact"), ["a", "b"], [Example.of("q", "a")], GradingContext())


def test_the_best_expected_output_counts() -> None:
    assert score("exact", "b", "a", "b") == 1
    assert score("token-f1", "one two", "three", "one two four") == pytest.approx(0.8)


def test_failed_and_mean_count_answers() -> None:
    examples = [Example.of("q", "billing", id=str(n)) for n in range(4)]
    answers = ["billing", "Other", "no idea", "billing"]
    result = grade(
        GraderSpec(name="label-accuracy"), answers, examples, GradingContext(labels=LABELS)
    )
    assert (result.mean, result.failed) == (0.5, 1)
    assert result.parsed == [True, True, False, True]
    assert result.notes[2] == "not a label of the set"


def test_code_is_not_run_without_trust(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text("raise SystemExit")
    with pytest.raises(UsageError, match="--trust-code"):
        graded("python", "a", "a", context=GradingContext(root=tmp_path), file="g.py")


# --- what counts as an answer


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("billing", "billing"),
        ("  billing\n", "billing"),
        ("Billing", "billing"),
        ('"billing"', "billing"),
        ("'billing'.", "billing"),
        ('"billing."', "billing"),
        ("“Login problem”", "login problem"),
        ("other", "Other"),
        ("The label is billing", None),
        ("billing, Other", None),
        ("billing\n\nBecause the customer", None),
        ("bill", None),
        ("", None),
        ("'billing", None),
    ],
)
def test_labels_are_read_strictly_but_fairly(text: str, label: str | None) -> None:
    assert parse_label(text, LABELS) == label


def test_spaces_around_labels_are_nobodys_fault() -> None:
    """`text, label` and `hello, refund`: a file with a space behind every comma."""
    labels = [" card", " refund"]
    assert parse_label("refund", labels) == parse_label(" Refund.", labels) == " refund"
    context = GradingContext(labels=labels)
    assert graded("label-accuracy", "refund", " refund", context=context).scores == [1]
    assert graded("label-accuracy", "card", " refund", context=context).scores == [0]


def test_labels_that_differ_by_case_only_are_told_apart() -> None:
    labels = ["Polish", "polish"]
    assert [parse_label(text, labels) for text in ("Polish", "polish", "POLISH")] == [
        "Polish",
        "polish",
        None,
    ]


def test_a_label_may_hold_quotes_and_periods() -> None:
    assert parse_label('"A."', ['"A."', "A"]) == '"A."'


@pytest.mark.parametrize(
    "text",
    ['```json\n{"a": 1}\n```', 'Here: {"a": 1}', "{'a': 1}", "NaN",
     '{"a": Infinity}', "", '{"a": 1',
     "[" * 100_000, "1" * 5000, "[" * 65 + "]" * 65],
)  # fmt: skip
def test_what_a_program_would_not_read_is_no_json(text: str) -> None:
    assert parse_json(text) is None


def test_null_is_a_json_value() -> None:
    parsed = parse_answer("json", " null\n")
    assert parsed is not None
    assert parsed.value is None


def test_answers_by_task() -> None:
    label, text = parse_answer("label", "other.", LABELS), parse_answer("text", " hi ")
    assert label is not None
    assert label.value == "Other"
    assert text is not None
    assert text.value == "hi"
    assert parse_answer("text", " \n") is None
    assert parse_answer("label", "maybe", LABELS) is None
    assert parse_answer("json", "maybe") is None


# --- exact, contains, numeric, regex


@pytest.mark.parametrize(
    ("answer", "strict", "loose"),
    [("Yes", 1, 1), (" Yes\n", 1, 1), ("yes", 0, 1), ("Y e s", 0, 0), ("Ｙｅｓ", 0, 1)],
)
def test_exact(answer: str, strict: float, loose: float) -> None:
    assert score("exact", answer, "Yes") == strict
    assert score("exact", answer, "Yes", normalise=True) == loose


@pytest.mark.parametrize(
    ("answer", "fact", "settings", "expected"),
    [
        ("A kennel costs 4.50.", "4.50", {}, 1),
        ("It is 24.50, or 4.505.", "4.50", {}, 0),
        ("xa a a", "a a", {}, 1),  # behind one that overlaps it and does not count
        ("at 6:10", "6", {}, 0),
        ("a  QUARTER\nof an hour", "a quarter of an hour", {}, 1),
        ("It is closed on Wednesdays.", "Wednesday", {}, 0),  # as the explanation says
        ("It is Wednesday's soup.", "wednesday", {}, 1),
        ("A half-day pass.", "half day", {}, 0),
        ("boxes", "box", {"whole_words": False}, 1),
        ("20 % is due, then 80 %", "20 %", {}, 1),
        ("4.50 and much more is to be said of it", "4.50", {"max_words": 8}, 0),
        ("", "4.50", {}, 0),
    ],
)
def test_contains(answer: str, fact: str, settings: dict[str, Any], expected: float) -> None:
    assert score("contains", answer, fact, **settings) == expected


@pytest.mark.parametrize(
    ("answer", "reference", "settings", "expected"),
    [
        ("42", "42", {}, 1),
        ("It is 42.", "42", {}, 1),
        ("6 times 7 is 42", "42", {}, 1),
        ("42 of 50", "42", {}, 0),
        ("42.0", "42", {}, 1),
        ("1,234.5", "1234.5", {}, 1),
        ("1\N{NO-BREAK SPACE}234", "1234", {}, 1),
        ("1'234", "1234", {}, 1),
        ("1,2345", "2345", {}, 1),  # no thousands: the last number is 2345
        ("1.234,5", "1234,5", {"decimal": ","}, 1),
        ("−3", "-3", {}, 1),
        ("-3", "3", {}, 0),
        ("the range is 1-3", "3", {}, 1),
        ("2e3", "2000", {}, 1),
        ("$1,000,000!", "1000000", {}, 1),
        (".5", "0.5", {}, 1),
        ("1.01", "1.00", {"tolerance": 0.01}, 1),
        ("1.02", "1.00", {"tolerance": 0.01}, 0),
        ("101", "100", {"relative": 0.01}, 1),
        ("102", "100", {"relative": 0.01}, 0),
        ("42", "42", {"where": "whole"}, 1),
        ("It is 42", "42", {"where": "whole"}, 0),
        ("none", "42", {}, 0),
    ],
)
def test_numeric(answer: str, reference: str, settings: dict[str, Any], expected: float) -> None:
    assert score("numeric", answer, reference, **settings) == expected


def test_an_answer_without_a_number_is_unparsed_and_a_reference_without_one_an_error() -> None:
    assert graded("numeric", "none", "42").parsed == [False]
    with pytest.raises(DataError, match="example row-1: numeric needs a number"):
        graded("numeric", "42", "none")


@pytest.mark.parametrize(
    ("answer", "settings", "expected"),
    [
        ("Order AB-12 is late", {"pattern": r"[A-Z]{2}-\d+"}, 1),
        ("order ab-12", {"pattern": r"[A-Z]{2}-\d+"}, 0),
        ("order ab-12", {"pattern": r"[A-Z]{2}-\d+", "ignore_case": True}, 1),
        ("Order AB-12", {"pattern": r"[A-Z]{2}-\d+", "match": "full"}, 0),
        (" AB-12\n", {"pattern": r"[A-Z]{2}-\d+", "match": "full"}, 1),
    ],
)
def test_regex(answer: str, settings: dict[str, Any], expected: float) -> None:
    assert score("regex", answer, "x", **settings) == expected


def test_a_pattern_that_takes_for_ever_is_stopped() -> None:
    start = time.monotonic()
    result = graded("regex", "a" * 60 + "!", "x", pattern="^(a|aa)+$", seconds=0.2)
    assert time.monotonic() - start < 5
    assert result.scores == [0]
    assert result.notes == ["matching took more than 0.2 s"]
