"""promptfoo: the configuration that it begins with, what it makes of short assertions, how it
grades answers, and what it asks and grades by configurations that `assay promptfoo export` wrote.

It is a program of node: 0.121.20 is the last one that runs on node 20.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from assay.example import Example
from assay.project.promptfoo import export_config, import_config
from assay.project.start.creation import create
from assay.project.start.init import Choices, draft
from assay.project.workspace import Workspace
from tests.compat.logs.promptfoo_cases import ANSWERS, CELLS, VARIABLE
from tests.compat.logs.provider import JSON, serving

RELEASE = "desk"
INPUTS = ("null", '[{"role": "user"}]', '"A" \\ <b> & é', "two\nlines", "- role: user")
"""What would be something else in YAML, JSON or HTML."""
_QUIET = {
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "PROMPTFOO_DISABLE_UPDATE": "1",
    # With them it may end by "write after end", once everything is written.
    "PROMPTFOO_DISABLE_DEBUG_LOG": "1",
    "PROMPTFOO_DISABLE_ERROR_LOG": "1",
}
_SETS = [{"type": "icontains", "value": word} for word in ("red", "blue", "green")]
_ASSERTED: list[list[dict[str, Any]]] = [
    [{"type": "ends-with", "value": "(s)."}],
    [{"type": "not-ends-with", "value": "?"}],
    [{"type": "assert-set", "threshold": 0.6, "assert": _SETS}],
    [{"type": "assert-set", "assert": _SETS}],
    [{"type": "rouge-n", "value": "a card is red", "threshold": 0.6}],
]


def exported(folder: Path) -> dict[str, Path]:
    """Projects that are written as configurations, by their names: the configurations."""
    made = {}
    for name, field in (("label", "label"), ("text", "answer"), ("json", "record")):
        table = folder / f"{name}.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["text", field])
            for n in range(24):
                asked = INPUTS[n] if n < len(INPUTS) else f"Where is card {n} of {n % 5}?"
                out.writerow([asked, _right(name, n)])
        create(draft(name, Choices(data=table)), folder=folder / name)
        made[name] = folder / name
    tests = [
        {
            "vars": {"input": f"Is card {n} here?", "tone": f"Be {n % 2}."},
            "assert": [{"type": "contains", "value": f"card {n}"}, *_ASSERTED[n % len(_ASSERTED)]],
            **({"threshold": 0.5} if n % 2 else {}),
        }
        for n in range(30)
    ]
    turns = [{"role": "system", "content": '"{{tone}}"'}, {"role": "user", "content": "{{input}}"}]
    (folder / "suite.json").write_text(json.dumps({"prompts": [json.dumps(turns)], "tests": tests}))
    import_config(folder / "suite.json", folder / "assertions")
    made["assertions"] = folder / "assertions"
    with patch("assay.project.promptfoo.writing.list_releases", return_value=[{"name": RELEASE}]):
        return {
            name: Path(export_config(Workspace(project), folder / f"{name}-out").file)
            for name, project in made.items()
        }


def _right(name: str, n: int) -> str:
    if name == "label":
        return ("cards", "loans")[n % 2]
    return (
        f"It is card {n}." if name == "text" else json.dumps({"card": n, "at": ["a", "b"][n % 2]})
    )


def answer_to(example: Example, place: int) -> str:
    """The right answer, or what became of it."""
    right = example.output
    return (
        *(right, f" {right}\n", f"{right} red, blue (s).", right[:-1], f"Sure: {right}?"),
        *("red blue green", f"```\n{right}\n```"),
    )[place % 7]


def rows_of(config: Path) -> list[Example]:
    """The rows that its tests are, with the answers that are right."""
    from assay.data.split import load_train, load_validation

    split = Workspace(config.parent.with_name(config.parent.name.removesuffix("-out"))).project
    assert split is not None
    return [*load_train(split.split_folder), *load_validation(split.split_folder)]


@contextmanager
def _server(answers: Mapping[str, str], asked: list[dict[str, Any]]) -> Iterator[str]:
    def answer(_: str, body: dict[str, Any]) -> tuple[str, str]:
        asked.append({"model": body["model"], "messages": body["messages"]})
        message = {"role": "assistant", "content": answers[body["messages"][-1]["content"]]}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return json.dumps({"object": "chat.completion", "choices": [choice]}), JSON

    with serving(answer) as url:
        yield f"{url}/v1"


def _run(program: Path, *arguments: str) -> None:
    environment = {**os.environ, **_QUIET, "ASSAY_API_KEY": "none"}
    done = subprocess.run(
        [str(program), *arguments], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode in (0, 100), done.stderr  # 100: a test has failed


def _evaluate(program: Path, config: Path) -> list[dict[str, Any]]:
    """The results, one of each test and model."""
    _run(program, "validate", "-c", str(config))
    out = config.with_name("out.json")
    quiet = ("--no-cache", "--no-table", "--no-share", "--no-write", "--max-concurrency", "1")
    _run(program, "eval", "-c", str(config), "-o", str(out), *quiet)
    results: list[dict[str, Any]] = json.loads(out.read_text())["results"]["results"]
    return results


def _grades(program: Path) -> list[dict[str, Any]]:
    """What came of `ANSWERS` and `CELLS`."""
    cases = [(one, answer) for one, answers in ANSWERS for answer in answers]
    tests = [
        {"vars": {"word": VARIABLE}, "providerOutput": answer, "assert": [one]}
        for one, answer in cases
    ]
    Path("tests.json").write_text(json.dumps(tests))
    with Path("cells.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["word", "__expected"], *([VARIABLE, one] for one in CELLS)])
    config = {"prompts": ["{{word}}"], "providers": ["echo"]}
    files = ["file://tests.json", "file://cells.csv"]
    Path("promptfooconfig.json").write_text(json.dumps({**config, "tests": files}))
    found = sorted(_evaluate(program, Path("promptfooconfig.json")), key=lambda one: one["testIdx"])
    graded = [
        {"assert": one, "answer": answer, "pass": got["success"], "score": got["score"]}
        for (one, answer), got in zip(cases, found[: len(cases)], strict=True)
    ]
    read = [
        {"cell": cell, "assert": got["testCase"]["assert"][0]}
        for cell, got in zip(CELLS, found[len(cases) :], strict=True)
    ]
    return graded + read


def _exports(program: Path) -> Iterator[dict[str, Any]]:
    for name, config in exported(Path.cwd()).items():
        rows = rows_of(config)
        answers = {row.input: answer_to(row, place) for place, row in enumerate(rows)}
        asked: list[dict[str, Any]] = []
        with _server(answers, asked) as url:
            text = config.read_text()
            config.write_text(text.replace("http://127.0.0.1:8000/v1", url))
            found = _evaluate(program, config)
        turns = {(one["model"], one["messages"][-1]["content"]): one["messages"] for one in asked}
        assert len(turns) == len(found) == 2 * len(rows)
        tests = (config.parent / "tests.jsonl").read_text().splitlines()
        of_model = [one for one in found if not one["provider"]["id"].endswith(f":{RELEASE}")]
        for row, test, got in zip(
            rows, tests, sorted(of_model, key=lambda one: one["testIdx"]), strict=True
        ):
            model = got["provider"]["id"].rpartition(":")[2]
            yield {
                "project": name,
                "test": json.loads(test),
                "asked": turns[model, row.input],
                "of_release": turns[RELEASE, row.input],
                "answer": answers[row.input],
                "pass": got["success"],
                "score": got["score"],
            }


def write(folder: Path, installed: Path) -> None:
    """All three files.

    Args:
        installed: the folder of its `node_modules`.
    """
    program = installed.absolute() / "node_modules" / ".bin" / "promptfoo"
    _run(program, "init", "--no-interactive", "begun")
    (folder / "promptfoo-init.yaml").write_bytes(Path("begun/promptfooconfig.yaml").read_bytes())
    for name, lines in (("grades", _grades(program)), ("exports", _exports(program))):
        text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
        (folder / f"promptfoo-{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
