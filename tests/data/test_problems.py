"""The table of codes is whole: nothing unknown is reported, and the documentation names all."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from assay.data import problems
from assay.data.problems import CODES, Problem, problem
from assay.data.read import FORMATS

DATA = Path(problems.__file__).parent
DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def test_codes_are_kebab_case_with_an_explanation() -> None:
    for code, (severity, explanation) in CODES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
        assert severity in ("error", "warning", "notice")
        assert explanation


def test_a_problem_takes_the_severity_of_its_code() -> None:
    one = problem("ragged-row", "a.csv", 3, "Found.", "Do.", field="text")
    assert one == Problem("a.csv", 3, "text", "ragged-row", "error", "Found.", "Do.")
    assert one.to_dict() == {
        "file": "a.csv",
        "line": 3,
        "field": "text",
        "code": "ragged-row",
        "severity": "error",
        "message": "Found.",
        "fix": "Do.",
    }
    with pytest.raises(KeyError):
        problem("no-such-code", "a.csv", 1, "Found.", "Do.")


def codes_in(path: Path) -> set[str]:
    """Text that looks like a code where a problem is made."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            name = node.func.id if isinstance(node.func, ast.Name) else name
            first = node.args[0]
            if name in ("add", "problem") and isinstance(first, ast.Constant):
                found.add(first.value)
    return found


def test_the_readers_report_only_codes_of_the_table() -> None:
    used = set().union(*(codes_in(path) for path in (DATA / "formats").glob("*.py")))
    assert len(used) > 20
    assert used <= CODES.keys()


def test_the_documentation_names_every_format_and_every_code_of_the_readers() -> None:
    text = DOCS.read_text(encoding="utf-8")
    used = set().union(*(codes_in(path) for path in (DATA / "formats").glob("*.py")))
    missing = [name for name in (*FORMATS, *used) if f"`{name}`" not in text]
    assert missing == []
