"""Changing settings in assay.yaml without touching anything else."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from assay.config import yaml_text
from assay.config.yaml_text import tree_of
from assay.errors import ConfigError

PROJECT = """\
# the head
name: pets  # a name
labels:
  - cat
  - "dog"

fine_tune:  # the rest: docs/training.md
  # how long
  epochs: 4   # at most
  max_tokens: 128
  system_prompt: "Say it.   "

costs: {machine_hour_usd: 0.2, person_hour_usd: 60}  # money
"""


def edit(text: str, section: str, values: Mapping[str, float]) -> str:
    return yaml_text.edit(text, {f"{section}.{name}": value for name, value in values.items()})


def changed(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def test_a_value_is_replaced_and_its_comment_stays() -> None:
    after = edit(PROJECT, "fine_tune", {"epochs": 8})
    assert changed(PROJECT, after) == ["-   epochs: 4   # at most", "+   epochs: 8   # at most"]


def test_new_settings_are_lines_of_their_own() -> None:
    after = edit(PROJECT, "fine_tune", {"rank": 32, "learning_rate": 7.3e-05})
    assert sorted(changed(PROJECT, after)) == ["+   learning_rate: 7.3e-05", "+   rank: 32"]


def test_a_section_on_one_line_stays_on_one_line() -> None:
    after = edit(PROJECT, "costs", {"person_hour_usd": 7, "prompt_hours": 1})
    assert after.endswith(
        "costs: {machine_hour_usd: 0.2, person_hour_usd: 7, prompt_hours: 1} # money\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("name: a\n", "name: a\nfine_tune:\n  rank: 2\n"),
        ("name: a", "name: a\nfine_tune:\n  rank: 2\n"),
        ("fine_tune:\nname: a\n", "fine_tune:\n  rank: 2\nname: a\n"),
        ("fine_tune: {}  # none\nname: a\n", "fine_tune:     # none\n  rank: 2\nname: a\n"),
        ("fine_tune:  # none\nname: a\n", "fine_tune:  # none\n  rank: 2\nname: a\n"),
        ("fine_tune: {rank: auto}\n", "fine_tune: {rank: 2}\n"),
        ("fine_tune:\n    rank: 'auto'\n", "fine_tune:\n    rank: 2\n"),
    ],
)
def test_every_way_to_write_a_section(before: str, after: str) -> None:
    assert edit(before, "fine_tune", {"rank": 2}) == after


MIXED = """\
a: 1   # x
graders:
- name: exact
- {name: f1,  weight: 2}
candidates:
    - prompt
    - few-shot
fine_tune:
      rank: 4
      epochs: 2
costs: {a: 1,   b: 2}
null_one:
data:
  file: x
  split:
     holdout: 0.2
"""
"""Indented in five ways, as several people and programs have written it."""


@pytest.mark.parametrize(
    ("path", "value", "differences"),
    [
        ("a", 2, ["- a: 1   # x", "+ a: 2   # x"]),
        ("data.file", "y", ["-   file: x", "+   file: y"]),
        ("data.split.holdout", 0.3, ["-      holdout: 0.2", "+      holdout: 0.3"]),
        ("fine_tune.rank", 8, ["-       rank: 4", "+       rank: 8"]),
        ("fine_tune.seed", 1, ["+       seed: 1"]),
        ("costs.a", 3, ["- costs: {a: 1,   b: 2}", "+ costs: {a: 3, b: 2}"]),
        ("margin", 0.1, ["+ margin: 0.1"]),
    ],
)
def test_the_rest_of_a_text_stays_as_it_is_indented(
    path: str, value: object, differences: list[str]
) -> None:
    after = yaml_text.edit(MIXED, {path: value})
    assert [line for line in changed(MIXED, after) if line[2:].strip()] == differences


def test_a_list_in_a_mixed_text_is_what_was_asked_for() -> None:
    after = yaml_text.edit(MIXED, {"candidates": ["prompt", "fine-tune", "rag"]})
    tree = YAML(typ="safe").load(after)
    assert tree == YAML(typ="safe").load(MIXED) | {"candidates": ["prompt", "fine-tune", "rag"]}
    assert "      rank: 4\n      epochs: 2\ncosts: {a: 1,   b: 2}\n" in after


def test_an_item_that_comes_first_stands_in_as_far_as_the_others() -> None:
    text = "system_prompt: |-\n  One of:\n  - a\n\nlabels:\n  - b\n\ngraders:\n  - name: exact\n"
    after = yaml_text.edit(text, {"labels": ["a", "b"]})
    assert changed(text, after) == ["+   - a"]


def test_a_change_that_makes_the_text_too_long_says_how_long_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(yaml_text, "LONGEST", 40)
    assert yaml_text.edit("a: 1\n", {"a": "x" * 20})
    with pytest.raises(ConfigError, match=r"has 54 characters; at most 40 are read\. Shorten a\."):
        yaml_text.edit("a: 1\n", {"a": "x" * 50})


def test_a_text_with_references_is_refused() -> None:
    text = "base: &b\n  rank: 1\nfine_tune: *b\n"
    with pytest.raises(ConfigError, match="line 3"):
        edit(text, "fine_tune", {"rank": 2})


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9), max_size=5),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(1e-9, 1e9), min_size=1, max_size=4),
    st.booleans(),
)
def test_the_settings_are_what_was_asked_for(
    had: dict[str, int], values: dict[str, float], flow: bool
) -> None:
    rounded = {name: float(f"{value:g}") for name, value in values.items()}
    inner = ", ".join(f"{k}: {v}" for k, v in had.items())
    block = "".join(f"\n  {k}: {v} # {k}" for k, v in had.items())
    text = f"x: 1\ns: {{{inner}}}\ny: 2\n" if flow else f"x: 1\ns:{block}\ny: 2\n"
    tree = YAML(typ="safe").load(edit(text, "s", rounded))
    assert tree == {"x": 1, "s": had | rounded, "y": 2}


def test_a_number_that_is_there_already_stays_as_it_is_written() -> None:
    text = "fine_tune: {learning_rate: 1e-3, rank: 16}  # fine\n"
    assert edit(text, "fine_tune", {"learning_rate": 0.001, "rank": 16}) == text


def test_a_quote_that_is_left_open_is_told_where_it_begins() -> None:
    _, [problem] = tree_of('a: 1\nb: "open\nc: 2\nd: 3\n', None)
    assert (problem.line, problem.column) == (2, 4)
    assert "never closed" in problem.message
