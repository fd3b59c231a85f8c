"""docs/tools.md: what its first section makes is proposed as the page says.

What follows (`init`'s files, `compare`, `promote`, `serve`) is the way of
examples/tool_specialist.py, which tests/serve/test_example.py runs.
"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay import project
from assay.cli.main import app
from assay.project.start.init import Choices

PAGE = (Path(__file__).parents[3] / "docs" / "tools.md").read_text(encoding="utf-8")


def test_the_dialogues_of_the_page_are_found_to_be_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [script] = re.findall(r"<<'END'\n(.*?)\nEND\n", PAGE, re.S)
    Path("make_dialogues.py").write_text(script)
    runpy.run_path("make_dialogues.py")
    checked = CliRunner().invoke(
        app, ["data", "check", "dialogues.jsonl", "--format", "openai-turns"]
    )
    assert checked.exit_code == 0
    assert "180 valid, 0 rejected" in checked.stdout
    drafted = project.draft("ferries", Choices(data=Path("dialogues.jsonl")))
    assert "60 conversations, 60 of which call a function before" in drafted.proposal.reasons[0]
    assert "180 in all" in drafted.proposal.reasons[0]
    assert "120 of 180 answers call a function" in drafted.proposal.reasons[1]
    assert drafted.proposal.task == "tools"
    graders = re.findall(r"^\| `([a-z1-]+)`(?: \(decides\))? \|", PAGE, re.M)
    proposed = [one.name for one in drafted.proposal.graders]
    assert proposed == graders[: len(proposed)]
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        compile(code, "docs/tools.md", "exec")
    [row, *_] = Path("dialogues.jsonl").read_text().splitlines()
    names = [tool["function"]["name"] for tool in json.loads(row)["tools"]]
    assert names == ["find_ferry", "book_ferry"]
