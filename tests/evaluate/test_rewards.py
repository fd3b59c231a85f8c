"""OpenAI's graders: what each gives, and what is refused before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from assay.errors import UsageError
from assay.evaluate.formula import Formula
from assay.evaluate.rewards import GRADER, run
from assay.evaluate.templates import LONGEST, VariableError, describe_sample, fill


def similarity(metric: str, text: str, reference: str, **more: Any) -> float:
    grader = GRADER.validate_python(
        {
            "type": "text_similarity",
            "name": "s",
            "evaluation_metric": metric,
            "input": "{{sample.output_text}}",
            "reference": "{{item.r}}",
        }
    )
    return run(grader, {"r": reference}, text, **more).reward


@pytest.mark.parametrize(
    ("operation", "text", "reference", "reward"),
    [
        ("eq", "Yes", "Yes", 1),
        ("eq", "Yes", "yes", 0),
        ("ne", "Yes", "yes", 1),
        ("like", "well, Yes.", "Yes", 1),
        ("like", "well, yes.", "Yes", 0),
        ("ilike", "well, YES.", "Yes", 1),
    ],
)
def test_string_checks(operation: str, text: str, reference: str, reward: float) -> None:
    grader = GRADER.validate_python(
        {
            "type": "string_check",
            "name": "s",
            "operation": operation,
            "input": "{{ sample.output_text }}",
            "reference": reference,
        }
    )
    assert run(grader, {}, text).reward == reward


def test_only_the_work_of_similarities_is_limited() -> None:
    long = "a" * LONGEST
    grader = {"name": "s", "input": "{{sample.output_text}}", "reference": long}
    check = {"type": "string_check", "operation": "eq", **grader}
    assert run(GRADER.validate_python(check), {}, long).reward == 1
    alike = {"type": "text_similarity", "evaluation_metric": "rouge_l", **grader}
    with pytest.raises(UsageError, match="too long"):
        run(GRADER.validate_python(alike), {}, long)


@pytest.mark.parametrize(
    "metric", ["fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_l"]
)
def test_a_similarity_is_1_for_the_same_and_0_for_nothing_in_common(metric: str) -> None:
    same = "the cat sat on the mat"
    whole = 1 - 0.5 / 6**3 if metric == "meteor" else 1
    assert similarity(metric, same, same) == pytest.approx(whole)
    assert similarity(metric, "qqq zzz", same) == pytest.approx(0, abs=0.1)


def test_similarities_by_hand() -> None:
    """got: a b c; wanted: a b d. 2 of 3 words, 1 of 2 pairs, 0 of 1 triples."""
    got, wanted = "a b c", "a b d"
    assert similarity("rouge_1", got, wanted) == pytest.approx(2 / 3)
    assert similarity("rouge_2", got, wanted) == pytest.approx(1 / 2)
    assert similarity("rouge_3", got, wanted) == 0
    assert similarity("rouge_l", got, wanted) == pytest.approx(2 / 3)
    assert similarity("gleu", got, wanted) == pytest.approx(3 / 6)
    # Of what was said and of what was wanted, the worse share counts.
    assert similarity("gleu", "a b", wanted) == pytest.approx(3 / 6)
    assert similarity("fuzzy_match", "abcd", "abce") == pytest.approx(0.75)


def test_cosine_asks_the_embedder() -> None:
    def embed(texts: Sequence[str]) -> Any:
        return np.array([[1.0, 0.0], [0.6, 0.8]], dtype=np.float32)

    assert similarity("cosine", "x", "y", embed=embed) == pytest.approx(0.6)
    with pytest.raises(UsageError, match="embedder"):
        similarity("cosine", "x", "y")


def test_texts_have_a_limit() -> None:
    with pytest.raises(UsageError, match="longer than"):
        similarity("rouge_l", "x" * (LONGEST + 1), "y")


@pytest.mark.parametrize("step", [".no", "[7]", "[0].a", "[" + "9" * 5000 + "]"])
def test_a_variable_that_leads_nowhere_is_an_error_of_the_grader(step: str) -> None:
    grader = GRADER.validate_python(
        {
            "type": "string_check",
            "name": "s",
            "operation": "eq",
            "input": "{{item.list" + step + "}}",
            "reference": "x",
        }
    )
    assert run(grader, {"list": [1]}, "x").errors == {"invalid_variable_error"}


def test_variables_reach_into_records_and_lists() -> None:
    grader = GRADER.validate_python(
        {
            "type": "string_check",
            "name": "s",
            "operation": "eq",
            "input": "{{sample.output_json.tags[1].name}} {{sample.output_json.n}}",
            "reference": "{{item.list[0]}} 3",
        }
    )
    sample = '{"tags": [1, {"name": "b"}], "n": 3}'
    assert run(grader, {"list": ["b"]}, sample).reward == 1
    assert run(grader, {"list": []}, sample).errors == {"invalid_variable_error"}
    assert run(grader, {"list": ["b"]}, "no JSON").errors == {"sample_parse_error"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a + 2 * b", 2.0),
        ("-a ^ 2", -1.0),
        ("min(a, b, 3)", 0.5),
        ("max(a)", 1.0),
        ("floor(b) + ceil(b) + abs(-b) + sqrt(4) + exp(0) + log(1)", 4.5),
        ("2 ^ 3 ^ 2 / 512", 1.0),
    ],
)
def test_formulas(text: str, value: float) -> None:
    formula = Formula(text, frozenset({"a", "b"}))
    assert formula.value({"a": 1.0, "b": 0.5}) == pytest.approx(value)


@pytest.mark.parametrize("text", ["a / 0", "log(0)", "sqrt(-1)", "9 ^ 9 ^ 9 ^ 9", "exp(9999)"])
def test_formulas_without_a_finite_value(text: str) -> None:
    with pytest.raises(ArithmeticError):
        Formula(text, frozenset({"a"})).value({"a": 1.0})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "c",
        "a.b",
        "a[0]",
        "lambda: a",
        "open(a)",
        "a if a else a",
        "True",
        "'a'",
        "sqrt(a, a)",
        "min()",
        "a // 2",
        "f'{a}'",
        "1" * 400,
        "(" * 900,
        "a + " * 300,
        "a\x00",
    ],
)
def test_what_is_no_formula(text: str) -> None:
    with pytest.raises(UsageError):
        Formula(text, frozenset({"a"}))


TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def test_a_sample_has_its_calls_and_only_the_json_that_fits() -> None:
    call = '{"name": "weather", "arguments": {"city": "Oslo"}}'
    said = f"Let me look.\n<tool_call>\n{call}\n</tool_call>"
    names = {"item": {}, "sample": describe_sample(said, [TOOL])}
    template = "{{sample.output_text}} {{sample.output_tools[0].function.name}}"
    assert fill(template, names) == "Let me look. weather"
    assert fill("{{sample.output_tools[0].function.arguments}}", names) == '{"city": "Oslo"}'
    with pytest.raises(VariableError, match="sample_parse_error"):
        fill("{{sample.output_tools[0].function.name}}", {"sample": describe_sample("No.", [TOOL])})
    assert describe_sample("[1]", fits=lambda value: value == [1])["output_json"] == [1]
    assert "output_json" not in describe_sample("[2]", fits=lambda value: value == [1])
