"""docs/graders.md says what the registry does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from assay.config import GraderSpec
from assay.evaluate.graders import GRADERS

PAGE = (Path(__file__).parents[2] / "docs" / "graders.md").read_text(encoding="utf-8")
SECTIONS = {
    name: text.split("\n## ")[0]
    for name, text in re.findall(r"^### `([^`]+)`\n(.*?)(?=^### |\Z)", PAGE, re.S | re.M)
}
SHARED = {"normalise", "fields"}  # of the graders that compare records, in one table


def settings_of(name: str) -> set[str]:
    fields = GRADERS[name].settings.model_fields
    return {info.alias or field for field, info in fields.items()} - {"as"}


def test_every_grader_has_its_section_and_no_other_has_one() -> None:
    assert set(SECTIONS) == set(GRADERS)


@pytest.mark.parametrize("name", GRADERS)
def test_a_section_opens_with_the_explanation(name: str) -> None:
    assert SECTIONS[name].strip().splitlines()[0] == GRADERS[name].explanation


@pytest.mark.parametrize("name", GRADERS)
def test_a_section_names_every_setting_and_none_besides(name: str) -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", SECTIONS[name], re.M)
    named = {setting for row in rows for setting in re.findall(r"`([^`]+)`", row)}
    if "Settings `normalise` and `fields` as above." in SECTIONS[name]:
        named |= SHARED
    assert named == settings_of(name)


@pytest.mark.parametrize("name", GRADERS)
def test_the_example_of_a_section_is_valid(name: str) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", SECTIONS[name], re.S)
    assert len(examples) == 1
    spec = GraderSpec.model_validate(YAML(typ="safe").load(examples[0]))
    assert spec.name == name
    GRADERS[name].settings.model_validate(spec.settings)
