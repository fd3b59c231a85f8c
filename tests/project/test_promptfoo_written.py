"""What promptfoo itself has written and graded (`tests/compat/logs`): read, and graded alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.compat.logs.promptfoo import INPUTS, exported, rows_of

from assay.evaluate.graders import GradingContext, grade
from assay.evaluate.graders.assertions import AssertionSettings, _all
from assay.project.promptfoo import import_config
from assay.project.promptfoo.dialect import for_promptfoo
from assay.project.promptfoo.files import SuiteFolder
from assay.project.promptfoo.suite import read_suite
from assay.project.promptfoo.templates import fill_all
from assay.project.promptfoo.translation import of_cell
from assay.project.workspace import Workspace, project_of

WRITTEN = Path(__file__).parents[1] / "compat" / "logs" / "written"


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(one) for one in (WRITTEN / name).read_text("utf-8").splitlines()]


GRADES = [one for one in lines("promptfoo-grades.jsonl") if "answer" in one]
OTHERWISE = {
    ("equals", " Paris"): "white space around an answer is not counted",
    ("regex", "٢٠٢٤"): "JavaScript's digits and letters are those of ASCII",
    ("regex", "café"): "JavaScript's digits and letters are those of ASCII",
    ("regex", "PARIS"): "a pattern of Python, which JavaScript refuses",
    ("ends-with", "It is."): "promptfoo has no such type",
    ("is-json", '"2024-13-01"'): "`format` is not checked, and listed",
    ("is-json", "[1]"): "promptfoo refuses keywords of later drafts",
    ("is-json", "{}"): "promptfoo refuses the address of a later draft",
}


def test_answers_are_graded_as_promptfoo_has_graded_them(tmp_path: Path) -> None:
    tests = [{"vars": {"word": "filled"}, "assert": [one["assert"]]} for one in GRADES]
    config = tmp_path / "promptfooconfig.json"
    config.write_text(json.dumps({"prompts": ["{{word}}"], "tests": tests}))
    suite, differ, compared = read_suite(config), set(), 0
    for test, theirs in zip(suite.tests, GRADES, strict=True):
        found = _all(test.assertions, theirs["answer"].strip(), AssertionSettings())
        if found is None:
            assert theirs["assert"]["type"] == "meteor"
            continue
        compared += 1
        if found.passed != theirs["pass"] or found.score != pytest.approx(theirs["score"]):
            differ.add((theirs["assert"]["type"], theirs["answer"]))
    assert differ == OTHERWISE.keys()
    assert compared == 310


def test_short_assertions_are_read_as_promptfoo_reads_them() -> None:
    for one in lines("promptfoo-grades.jsonl"):
        if "cell" in one and "fn:" not in one["cell"]:
            theirs = one["assert"]
            if theirs["type"] in ("starts-with", "contains-any"):  # the same one, spelled otherwise
                theirs = {**theirs, "value": of_cell(one["cell"])["value"]}
                theirs.pop("threshold", None)
            assert of_cell(one["cell"]) == theirs


def test_what_promptfoo_begins_with_is_read(tmp_path: Path) -> None:
    made = import_config(WRITTEN / "promptfoo-init.yaml", tmp_path / "begun")
    assert (made.tests, made.rows, made.inputs) == (3, 1, 2)
    assert {one.what for one in made.unsupported} == {
        *("Write a concise, funny tweet about {{topic}}", "javascript", "llm-rubric"),
    }


JSON = {"type": "is-json", "value": {"$defs": {}}}
SETS = {"type": "assert-set", "threshold": 0.5, "assert": [{"type": "contains", "value": "a"}]}
DIALECT: list[tuple[list[dict[str, Any]], list[dict[str, Any]], str]] = [
    ([{"type": "regex", "value": r"a\\Z"}], [{"type": "regex", "value": r"a\\Z"}], ""),
    ([{"type": "regex", "value": r"a\Z"}], [], "JavaScript has no such pattern"),
    ([{"type": "not-regex", "value": "(?i)a"}], [], "JavaScript has no such pattern"),
    ([{**SETS, "assert": [SETS]}], [{**SETS, "assert": [SETS]}], ""),
    ([{**SETS, "assert": [SETS]}, SETS], [SETS], "promptfoo has no sets in each other"),
    ([{"type": "assert-set", "assert": [SETS]}], [SETS], ""),
    ([{"type": "is-json", "value": {"$schema": "x", "$defs": {}}}], [JSON], ""),
    ([{"type": "is-json", "value": {"items": {"prefixItems": []}}}], [], "promptfoo refuses prefi"),
]


@pytest.mark.parametrize(("assertions", "written", "why"), DIALECT)
def test_what_promptfoo_refuses_is_not_written(
    assertions: list[dict[str, Any]], written: list[dict[str, Any]], why: str
) -> None:
    reasons: dict[str, str] = {}
    assert for_promptfoo(assertions, reasons) == written
    assert "".join(reasons.values()).startswith(why)
    assert bool(reasons) == bool(why)


def test_exports_are_what_promptfoo_has_run(tmp_path: Path) -> None:
    written = iter(lines("promptfoo-exports.jsonl"))
    for name, config in exported(tmp_path).items():
        settings = project_of(Workspace(config.parent.with_name(name))).config
        tests = (config.parent / "tests.jsonl").read_text("utf-8").splitlines()
        top = SuiteFolder(config).tree(config).value
        assert top["defaultTest"] == {"options": {"transform": "output.trim()"}}
        prompt = json.loads((config.parent / "prompt.json").read_text("utf-8"))
        of_release = json.loads(top["prompts"][1]["raw"])
        context = GradingContext(settings.labels, settings.output_schema, settings.task)
        for row, test in zip(rows_of(config), tests, strict=True):
            theirs = next(written)
            assert json.loads(test) == theirs["test"]
            assert theirs["asked"] == fill_all(prompt, theirs["test"]["vars"])
            assert theirs["of_release"] == fill_all(of_release, theirs["test"]["vars"])
            assert theirs["asked"][-1] == {"role": "user", "content": row.input}
            spec = settings.primary_grader()
            if name == "text":  # rouge-l has no equal, and the next one decides
                spec = next(one for one in settings.graders if one.name == "exact")
            [ours] = grade(spec, [theirs["answer"]], [row], context).scores
            if name == "label" and theirs["answer"] == f"{row.output}.":
                assert (ours, theirs["pass"]) == (1.0, False)  # `equals` forgives no mark
            else:
                assert bool(ours) == theirs["pass"], theirs
    assert next(written, None) is None
    assert {one["test"]["vars"]["input"] for one in lines("promptfoo-exports.jsonl")} & {*INPUTS}
