"""What an estimate counts once: all that the rows of a project begin with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.candidates.test_tools import THINGS, TOOL, row
from tests.small import small_project

from assay.chat.template import Template
from assay.example import Example, Message
from assay.project.sizes import sizes_of


@pytest.mark.parametrize("tools", [(), (TOOL,)])
def test_rows_share_the_system_prompt_and_the_definitions_of_functions(
    tools: tuple[dict[str, object], ...], tmp_path: Path
) -> None:
    made = small_project(tmp_path)
    template, context = Template.load(made.config.model)
    rows = [replace(row(f"{thing} is where", thing, thing), tools=tools) for thing in THINGS]
    if not tools:
        rows = [replace(one, messages=(one.messages[0], Message("assistant", "a"))) for one in rows]

    def told(train: list[Example], system: str) -> tuple[float, float]:
        config = made.config.model_copy(update={"system_prompt": system})
        sizes = sizes_of(
            train, config, template, context, 1e6, manifest=made.split(), root=made.root
        )
        return sizes.system_tokens, sizes.input_tokens

    for system in ("", "Find it."):
        shared, own = told(rows, system)
        asked = [Message("system", system)] if system else []
        known = len(template.prompt([*asked, Message("user", "")], tools))
        assert known - 20 < shared <= known  # what stands behind the question is of each row
        assert own < 60
        assert told(rows[:1], system)[0] == 0  # nothing is shared by one
