"""Agents as YAML: what is written is what is read, and every problem has its place."""

from __future__ import annotations

import difflib
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.agent.agent import Agent, Nearest
from assay.agent.texts import as_yaml, edit, parse, value_of
from assay.errors import ConfigError, UsageError

WRITTEN = """\
# Who answers passengers.
model: smollm2-135m-instruct   # the small one
system_prompt: |-
  You answer for a ferry line.

  Be short.
# never more than a card's worth
max_new_tokens: 64
choices:
    - "yes"   # quoted: YAML 1.1 readers
    - no
temperature: 0.0
"""

_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    prompt=_texts | _texts.map(lambda t: f"{t}\n  {t}\n\n{t}"),
    choices=st.none() | st.lists(_texts, max_size=3).map(tuple),
    schema=st.none() | st.dictionaries(_texts, _json, max_size=3),
    temperature=st.floats(0, 2),
)
def test_what_is_written_is_what_is_read(
    prompt: str, choices: tuple[str, ...] | None, schema: dict[str, Any] | None, temperature: float
) -> None:
    agent = Agent(
        model="m",
        system_prompt=prompt,
        choices=choices,
        output_schema=schema,
        temperature=temperature,
        shown=(({"role": "user", "content": prompt}, {"role": "assistant", "content": "a"}),),
    )
    again, problems = parse(as_yaml(agent))
    assert problems == []
    assert again is not None
    assert again.id == agent.id


def test_a_text_shows_its_prompt_as_lines_and_leaves_out_what_is_usual() -> None:
    text = as_yaml(Agent(model="m", system_prompt="One.\nTwo."))
    assert text.splitlines()[:4] == ["model: m", "system_prompt: |-", "  One.", "  Two."]
    assert "nearest" not in text


def test_a_person_s_text_is_understood() -> None:
    agent, problems = parse(WRITTEN)
    assert problems == []
    assert agent is not None
    assert agent.choices == ("yes", "no")
    assert agent.system_prompt == "You answer for a ferry line.\n\nBe short."


def test_a_change_by_program_keeps_comments_order_and_all_other_lines() -> None:
    after = edit(WRITTEN, {"max_new_tokens": 32, "seed": 7})
    lines = [
        line for line in difflib.ndiff(WRITTEN.splitlines(), after.splitlines()) if line[0] in "+-"
    ]
    assert lines == ["- max_new_tokens: 64", "+ max_new_tokens: 32", "+ seed: 7"]


SECTIONS = """\
model: m
knowledge:  # documents
  name: a
  k: 3  # three
  characters: 6000

# how long
max_new_tokens: 64
choices:
  - "yes"
  - "no"
# how wild
temperature: 0.0
"""


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        ({"knowledge": {"name": "b", "k": 1, "characters": 5}}, []),
        ({"knowledge": {"name": "b", "k": 1, "characters": 5, "abstain": "One.\nTwo."}}, []),
        ({"knowledge.threshold": 0.5}, []),
        ({"knowledge": None}, ["# three"]),
        ({"choices": []}, []),
        ({"choices": ["a", "b"]}, []),
    ],
)
def test_a_section_that_is_replaced_takes_no_comment_of_the_next_one_with_it(
    values: dict[str, Any], gone: list[str]
) -> None:
    after = edit(SECTIONS, values)
    comments = [comment for comment in re.findall(r"#.*", SECTIONS) if comment not in gone]
    assert re.findall(r"#.*", after) == comments
    assert "\n# how long\nmax_new_tokens: 64\n" in after
    assert "\n# how wild\ntemperature: 0.0\n" in after


def test_a_setting_within_a_setting_is_changed_and_a_prompt_of_lines_stays_one() -> None:
    nearest = Nearest(k=3, pool="0" * 64, embedder="e")
    after = edit(
        as_yaml(Agent(model="m", nearest=nearest)),
        {"nearest.k": 5, "system_prompt": "One.\nTwo."},
    )
    agent, _ = parse(after)
    assert agent is not None
    assert agent.nearest == nearest.model_copy(update={"k": 5})
    assert "  One.\n  Two.\n" in after
    with pytest.raises(UsageError, match="has no settings of its own"):
        edit(WRITTEN, {"model.name": "x"})
    with pytest.raises(ConfigError, match="not YAML"):
        edit("a: [", {"model": "x"})


@pytest.mark.parametrize(
    ("text", "field", "line", "column", "said"),
    [
        ("model: m\ntemprature: 1\n", "temprature", 2, 1, "there is no such setting"),
        ("model: m\n\nmax_new_tokens: many\n", "max_new_tokens", 3, 1, "a whole number"),
        ("model: m\nmax_new_tokens: 0\n", "max_new_tokens", 2, 1, "at least 1"),
        ("seed: 1\n", "model", None, None, "this setting is missing"),
        (
            "model: m\nnearest: {k: 0, pool: p, embedder: e}\n",
            "nearest.k",
            2,
            11,
            "at least",
        ),
        ("model: m\nchoices: [a, 2024-01-01]\n", "choices.1", 2, 14, "in quotes"),
        ("model: m\noutput_schema: {1: x}\n", "output_schema.1", 2, 17, "is not text"),
        ("model: m\ntemperature: .nan\n", "temperature", 2, 1, "neither text nor a number"),
        ("model: m\nshown:\n  - - {content: x}\n", "shown.0", 3, 5, "role and content"),
        ("model: [\n", None, 2, 1, "not YAML"),
        ("model: m\nmodel: n\n", None, 2, 1, "duplicate key"),
        ("a: &x [1]\nb: *x\n", None, 2, 4, "references"),
        ("- model\n", None, 1, 1, "not an agent"),
        ("", None, 1, 1, "not an agent"),
        ("model: m\n--- \nmodel: n\n", None, None, None, "not YAML"),
        ("a: " + "[" * 5000, None, None, None, "too deep"),
        ("model: m\nseed: 2024-13-45\n", None, None, None, ""),
        ("model: \x00\n", None, None, None, "not YAML"),
    ],
)
def test_every_problem_has_its_place(
    text: str, field: str | None, line: int | None, column: int | None, said: str
) -> None:
    agent, problems = parse(text)
    assert agent is None
    assert said in problems[0].message
    if field is not None:
        assert (problems[0].field, problems[0].line, problems[0].column) == (field, line, column)
    elif line is not None:
        assert (problems[0].line, problems[0].column) == (line, column)


def test_all_problems_are_told_in_the_order_of_the_text() -> None:
    _, problems = parse("seed: x\nmodel: m\nwhat: 1\n")
    assert [str(p).split(":")[0] for p in problems] == ["line 1", "line 3"]


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        ("system_prompt", "yes: no", "yes: no"),
        ("temperature", "0.3", 0.3),
        ("constrained", "true", True),
        ("nearest", "null", None),
        ("choices", "[a, b]", ["a", "b"]),
        ("nearest.k", "4", 4),
    ],
)
def test_what_is_set_on_the_command_line(setting: str, text: str, value: object) -> None:
    assert value_of(setting, text) == value


def test_what_cannot_be_set_is_told() -> None:
    with pytest.raises(UsageError, match="--set choices: the text is not YAML"):
        value_of("choices", "[a")


def test_a_new_list_at_the_end_of_a_section_keeps_the_line_below_it_empty() -> None:
    text = "knowledge:\n  name: documents\n\nmodel: m\n"
    changed = edit(text, {"knowledge.labels": ["a", "b"]})
    assert changed == ("knowledge:\n  name: documents\n  labels:\n  - a\n  - b\n\nmodel: m\n")
