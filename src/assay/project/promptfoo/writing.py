"""A project as a promptfoo configuration: its prompt, `assay serve` as provider, rows as tests.

The holdout stays closed: tests are the rows of train and validation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.config import Config, GraderSpec
from assay.config.yaml_text import block, dump
from assay.data.assertions import SET, flat
from assay.data.split import load_train, load_validation
from assay.errors import UsageError
from assay.evaluate.graders.assertions import judged_of
from assay.example import Example
from assay.progress import SILENT, Progress
from assay.project.promptfoo.dialect import for_promptfoo
from assay.project.promptfoo.suite import TRIM
from assay.project.promptfoo.templates import texts_in
from assay.project.releases import list_releases
from assay.project.workspace import Workspace, project_of
from assay.store.files import new_folder, write_json

CONFIG, PROMPT, TESTS = "promptfooconfig.yaml", "prompt.json", "tests.jsonl"
BASE_URL = "http://127.0.0.1:8000/v1"
KEY = "ASSAY_API_KEY"
_USER = {"role": "user", "content": "{{input}}"}
_TEMPLATES = ("{{", "{%", "{#")
_LOADED = ("file://", "package:")


@dataclass(slots=True)
class PromptfooExport:
    """What was written.

    Attributes:
        tests: rows that were written; `left_out`: rows that a test cannot hold.
        models: names that the tests are run against.
        unsupported: graders that have no equal there, each with the reason.
    """

    file: str
    tests: int = 0
    left_out: int = 0
    models: list[str] = field(default_factory=list)
    unsupported: dict[str, str] = field(default_factory=dict)


def export_config(
    workspace: Workspace, to: Path, *, base_url: str = BASE_URL, progress: Progress = SILENT
) -> PromptfooExport:
    """Write the configuration, its prompt and its tests into a new folder.

    Args:
        base_url: where `assay serve` answers, including /v1.

    Raises:
        UsageError: the folder is there, or the system prompt has what promptfoo would fill in.
        DataError: the examples cannot be divided.
    """
    if to.exists():
        raise UsageError(f"{to} already exists.", fix="Choose another name.")
    project = project_of(workspace)
    config = project.config
    if _is_active(config.system_prompt):
        raise UsageError(
            "the system prompt has {{, {% or {#, or begins with file:// or package:, which "
            "promptfoo would fill in, read or run.",
            fix="Write it without them.",
        )
    project.split(progress)
    rows = [*load_train(project.split_folder), *load_validation(project.split_folder)]
    rows = [row for row in rows if row.liked]
    made = PromptfooExport(str(to / CONFIG))
    own = any(_system(row) not in (None, config.system_prompt) for row in rows)
    tests = [test for row in rows if (test := _test(row, config, own, made)) is not None]
    made.tests, made.left_out = len(tests), len(rows) - len(tests)
    if not tests:
        raise UsageError(
            "no row can be a test of promptfoo: one has a single turn of the user, no tools, none "
            "of {{, {% and {#, and does not begin with file:// or package:."
        )
    releases = [str(one["name"]) for one in list_releases(workspace)]
    made.models = [config.model, *releases]
    with new_folder(to.absolute()) as folder:
        write_json(folder / PROMPT, _prompt(config, own))
        lines = (json.dumps(test, ensure_ascii=False) + "\n" for test in tests)
        (folder / TESTS).write_bytes("".join(lines).encode("utf-8", "replace"))
        text = dump(block(_configuration(config, releases, base_url)))
        (folder / CONFIG).write_text(text, encoding="utf-8")
    return made


def _configuration(config: Config, releases: Sequence[str], base_url: str) -> dict[str, Any]:
    return {
        "description": config.name,
        "prompts": [
            {"id": f"file://{PROMPT}", "label": "prompt"},
            # A release brings its own system prompt. A bare {{input}} that is JSON would be sent as
            # the turns themselves.
            *([{"id": "input", "label": "input", "raw": json.dumps([_USER])}] if releases else []),
        ],
        "providers": [
            _provider(config.model, "prompt", config, base_url),
            *(_provider(name, "input", config, base_url) for name in releases),
        ],
        "defaultTest": {"options": {"transform": TRIM}},
        "tests": f"file://{TESTS}",
    }


def _provider(model: str, prompt: str, config: Config, base_url: str) -> dict[str, Any]:
    settings = {
        "apiBaseUrl": base_url,
        "apiKeyEnvar": KEY,
        "temperature": 0,
        "max_tokens": config.generate.max_new_tokens,
    }
    return {"id": f"openai:chat:{model}", "prompts": [prompt], "config": settings}


def _prompt(config: Config, own: bool) -> list[dict[str, str]]:
    system = "{{system}}" if own else config.system_prompt
    turns = [{"role": "system", "content": system}] if system else []
    return [*turns, _USER]


def _system(row: Example) -> str | None:
    first = row.messages[0]
    return first.content if first.role in ("system", "developer") else None


def _test(row: Example, config: Config, own: bool, made: PromptfooExport) -> dict[str, Any] | None:
    """The row as a test; None where a test cannot hold it."""
    turns = [turn for turn in row.prompt if turn.role not in ("system", "developer")]
    if len(turns) != 1 or turns[0].role != "user" or row.tools:
        return None
    variables = {"input": turns[0].content}
    if own:
        variables["system"] = _system(row) or config.system_prompt
    asserted = _assertions(row, config, made.unsupported)
    if any(_is_active(text) for text in texts_in([variables, asserted])):
        return None
    return {"vars": variables, **asserted}


def _assertions(row: Example, config: Config, reasons: dict[str, str]) -> dict[str, Any]:
    """`assert` of the row's test, and `threshold` where it has one.

    What other graders than the primary one ask for has the weight 0: it is shown, and decides
    nothing. Where the primary one has no equal, the others decide.
    """
    deciding: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    for spec in config.graders:
        to = deciding if spec.label == config.primary else beside
        to += [one for one in _written(spec, row, config, reasons) if one not in to]
    if not deciding:
        deciding, beside = beside, []
    known = list(flat(deciding))
    others = for_promptfoo([one for one in flat(beside) if one not in known], reasons)
    made: dict[str, Any] = {"assert": for_promptfoo(deciding, reasons)}
    match made["assert"]:
        case [{"threshold": threshold, "assert": inner}]:  # a set
            made = {"assert": inner, "threshold": threshold}
    made["assert"] = [*made["assert"], *({**one, "weight": 0} for one in others)]
    return made


def _written(
    spec: GraderSpec, row: Example, config: Config, reasons: dict[str, str]
) -> list[dict[str, Any]]:
    if spec.name == "assertions":
        return list(row.assertions)
    if spec.name == "judge" and (said := judged_of(row.assertions)):
        return said
    if (write := _WRITERS.get(spec.name)) is not None:
        return write(spec, row, config, reasons)
    reasons.setdefault(spec.label, "promptfoo has no assertion like it")
    return []


Writer = Callable[[GraderSpec, Example, Config, dict[str, str]], list[dict[str, Any]]]


def _any_of(kind: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """One assertion for each right answer, of which one has to pass."""
    each = [{"type": kind, "value": value} for value in values]
    if len(each) == 1:
        return each
    return [{"type": SET, "threshold": round(0.99 / len(each), 6), "assert": each}]


def _exact(
    spec: GraderSpec, row: Example, config: Config, reasons: dict[str, str]
) -> list[dict[str, Any]]:
    if spec.name == "label-accuracy" or spec.settings.get("normalise"):
        reasons.setdefault(spec.label, "written as `equals`, which forgives neither case nor marks")
    return _any_of("equals", row.accepted)


def _record(
    spec: GraderSpec, row: Example, config: Config, reasons: dict[str, str]
) -> list[dict[str, Any]]:
    if spec.settings.get("normalise") or spec.settings.get("fields"):
        reasons.setdefault(spec.label, "its settings `normalise` and `fields` have no equal")
        return []
    try:
        return _any_of("equals", [json_reader.read(text) for text in row.accepted])
    except ValueError:
        return []


def _contains(
    spec: GraderSpec, row: Example, config: Config, reasons: dict[str, str]
) -> list[dict[str, Any]]:
    what = "written as `icontains`, which finds parts of words and counts no words"
    reasons.setdefault(spec.label, what)
    return _any_of("icontains", row.accepted)


def _regex(
    spec: GraderSpec, row: Example, config: Config, reasons: dict[str, str]
) -> list[dict[str, Any]]:
    pattern = str(spec.settings["pattern"])
    if spec.settings.get("match") == "full":
        pattern = f"^(?:{pattern})$"
    if spec.settings.get("ignore_case"):
        reasons.setdefault(spec.label, "its setting `ignore_case` has no equal")
        return []
    return [{"type": "regex", "value": pattern}]


def _json(
    spec: GraderSpec, row: Example, config: Config, reasons: dict[str, str]
) -> list[dict[str, Any]]:
    if spec.name == "schema-valid" and config.output_schema is not None:
        return [{"type": "is-json", "value": config.output_schema}]
    return [{"type": "is-json"}]


def _judge(
    spec: GraderSpec, row: Example, config: Config, reasons: dict[str, str]
) -> list[dict[str, Any]]:
    reasons.setdefault(
        spec.label, "written as `llm-rubric` with the right answer in it; name its model"
    )
    said = spec.settings.get("criteria") or "Is it as correct and complete?"
    return [{"type": "llm-rubric", "value": f"{said} Compare with this answer: {row.output}"}]


_WRITERS: Mapping[str, Writer] = {
    "exact": _exact,
    "label-accuracy": _exact,
    "record-exact": _record,
    "contains": _contains,
    "regex": _regex,
    "json-valid": _json,
    "schema-valid": _json,
    "judge": _judge,
}


def _is_active(text: str) -> bool:
    """Whether promptfoo would do something with a text: fill it in, read or run a file."""
    loaded = text.strip().lower().startswith(_LOADED)
    return loaded or any(sign in text for sign in _TEMPLATES)
