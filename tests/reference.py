"""Writes the generated reference: `python -m tests.reference`; a test holds it to the code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click
from typer.main import get_command

from assay.candidates import registry
from assay.candidates.registry import specs
from assay.candidates.spec import METHOD
from assay.cli.main import app
from assay.config import Config, config_schema
from assay.train.methods import registry as training_methods
from assay.train.methods.spec import HOLDS

FOLDER = Path(__file__).parent.parent / "docs" / "reference"

EXIT_CODES = """
## What scripts can rely on

| exit code | meaning |
|---|---|
| 0 | done; warnings, overlaps and the outcomes `none` and `cannot_tell` are no failures |
| 1 | failed, or problems of severity `error` were found |
| 2 | wrong usage |
| 130 | stopped with Ctrl-C; what was finished is kept |

With `--json` one JSON document stands on stdout. Progress and messages go to stderr.

- `assay data check FILE --json`: `{format, task, columns: {input, output}, rows, valid, rejected,
  problems: [{file, line, field, code, severity, message, fix}], counts, duplicates: {exact, near},
  tokens}`; at most 1000 problems, all of them with `--out FOLDER`; columns are null where the
  format itself says what is what, tokens outside a project unless `--model`.
- `assay data overlap TRAIN HOLDOUT --input COLUMN --json`: `{exact, near, answers, documents,
  rows: [{holdout_row, train_row, kind, similarity}]}`; rows are counted from 1, counts are holdout
  rows.
- `assay data approve [ID...] --json`: `{approved, waiting, rejected, needed, measured, sentence,
  questions: [{id, question, answer, document, passage, state, who}]}`.
- `assay data second-look --json`: `{comparison, second_look, sentence, advice, rows: [{id, input,
  label, said: {answer: [candidates]}}]}`; `second_look` as in [result.md](result.md), null where
  nobody could doubt a label.
- `assay knowledge add --json`: `{documents, passages, unchanged, failed: [{file, reason}],
  warning}`, `warning` that the examples stand there, else null; `search --json`: `{query, passages:
  [{document, page, heading, score, text, id}]}`, with `--queries FILE` (a line `{"query": "..."}`
  each) a list of these in the order of FILE.
- `assay train --json`: `{version, folder, settings, points: [{step, epoch, train_loss,
  validation_loss, score}], best_step, best_validation_loss, steps, seconds, trained_tokens, tokens,
  tokens_per_s, peak_bytes, compute, forgetting}`; with `--sweep`: `{trials: [{number, state,
  settings, loss, epochs_done, error}], best, diff, written}`.
- `assay jobs list --json`: `[{id, project, kind, status, wish, worker, progress, result, error,
  created, started, ended}]`; `show --json` is one of them, `logs --json` is `[{at, kind, message,
  data}]`.
- `assay export --json`: `{version, form, folder, files, command, parity: {prompts, evaluated,
  target, p, divergence, positions, equal_answers, near_ties,
  unexplained, formats, refusals}}`; `--to onnx`: `{agent, form, folder, files, command, parity:
  {rows, evaluated, equal_answers, largest, allowed}}`; `--to openclaw`:
  `{release, agent, folder, files, warnings}`.
- `assay compare --json`: `result.json`, described in [result.md](result.md).
- `assay versions list --json`: `[{id, base, method, saved_at, metrics, parent, agents}]`; `show`:
  `{id, folder, saved_at, whole, bytes, rows, agents, record}`; `diff`: `{first, second, fields:
  {path: [one, other]}, rows: {part: {only_first, only_second}}}`; `trained-on`: `{example, sha256,
  versions: [{id, saved_at, as, agents}], agents, unknown}`.
- `assay agent list --json` and `history [NAME] --json`: `[{name, version, label, id, author,
  message, at}]`, the history newest first; `edit` and `rollback`: one of these; `show`: the same
  with `hash` (what `edit --based-on` wants back), `agent` (the settings) and `text` (the YAML);
  `diff A B`: `{first, second, fields: {setting: [one, other]}, texts: [one, other]}`, `first` and
  `second` as NAME@VERSION, null where a setting is not there.
- `assay release promote|canary|rollback --json`: `{name, number, action, agent, agent_id, canary,
  canary_id, share, comparison, reason, who, at}`; `history`: a list of these, newest first; `list`:
  the same with `traces`.
- `assay promptfoo import --json`: `{folder, project, reason, tests, rows, inputs, rows_file,
  inputs_file, primary, assertions: {type: count}, agents, remote, unsupported: [{file, line, key,
  what, reason}]}`; `export`: `{file, tests, left_out, models, unsupported: {grader: reason}}`.
- `assay traces list --json`: `[{id, release, agent, messages, tools, answer, usage, masked,
  sampled, thumb, corrected, at}]`; `show`, `feedback` and `next`: one of these (`next`: null when
  none is left); `label`: `{trace, score}`; `to-data`: `{file, written, rejected, rejected_file,
  counts, masked}`.
- `assay watch --json`: `{release, agent, outcome, score, low, high, drop, labels, skipped, waiting,
  mean, mean_low, mean_high, needed, sentence}`.
- `assay rescue openai --json`: `{account, written_at, complete, ended_early, bytes, kinds: [{kind,
  complete, missing, objects, bytes}], missing: [{kind, id, path, objects, reason, http_status}],
  notes, fine_tuned_models: [{model, base, ends, ends_according_to, job, status, method,
  trained_tokens, training_file, training_path, checkpoints: [{model, step}]}], not_ended: [{kind,
  id, status}], files_left: {purpose: count}, next}`; the same as `report.json`.
- `assay backup|restore --json`: `{file, files, bytes, at}`; `restore` tells besides `{keys: [{id,
  project, name, hint, scopes}], people: [{name, role}], providers: [{project, name, origin}],
  consents: [{project, name, origin}], ended: {sessions, links}}`, all but the last brought back.
"""


def cli() -> str:
    """Every command with its options, as `--help` knows them."""
    text = get_docs_for_click(obj=get_command(app), ctx=_context(), name="assay")
    return "<!-- generated by `make docs` -->\n\n" + text.strip() + "\n" + EXIT_CODES


def _context() -> Any:
    return get_command(app).make_context("assay", [], resilient_parsing=True)


def config() -> str:
    """Every setting of assay.yaml."""
    lines = [
        "<!-- generated by `make docs` -->",
        "",
        "# assay.yaml",
        "",
        "An unknown key is an error, with its line. `assay data schema` prints the JSON Schema.",
        "",
    ]
    return "\n".join(lines + _section("", Config)) + "\n"


def _section(title: str, model: type[BaseModel]) -> list[str]:
    lines = [f"## {title}", ""] if title else []
    doc = (model.__doc__ or "").strip()
    if title and doc:
        lines += [doc.splitlines()[0], ""]
    lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
    inner = []
    for name, field in model.model_fields.items():
        kind = f"{_spelled(field.annotation)}{_bounds(field.metadata)}"
        nested = _nested(field)
        if nested is not None:
            inner.append((f"{title}.{name}" if title else name, nested))
            kind = "section"
        lines.append(f"| `{name}` | {kind} | {_default(field)} | {field.description or ''} |")
    lines.append("")
    for path, nested in inner:
        lines += _section(path, nested)
    return lines


def _nested(field: FieldInfo) -> type[BaseModel] | None:
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


_PLAIN = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    type(None): "null",
    Any: "anything",
}


def _spelled(kind: Any) -> str:
    """A type as people say it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        bounds = [m for said in inner[1:] for m in getattr(said, "metadata", (said,))]
        return _spelled(inner[0]) + _bounds(bounds)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_spelled, inner)))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin is dict:
        return f"mapping of {_spelled(inner[0])} to {_spelled(inner[1])}"
    if origin in (list, tuple):
        return f"list of {_spelled(inner[0])}"
    return _PLAIN.get(kind) or getattr(kind, "__name__", str(kind))


def _bounds(metadata: Sequence[Any]) -> str:
    """What else is asked of a value, behind its type."""
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    said = [
        f"{words} {getattr(bound, name)}"
        for bound in metadata
        for name, words in signs.items()
        if getattr(bound, name, None) is not None
    ]
    return f", {' and '.join(said)}" if said else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value)}`"


def result() -> str:
    """The fields of result.json, from its schema."""
    from assay.compare import result as contract

    lines = [
        "<!-- generated by `make docs` -->",
        "",
        "# result.json",
        "",
        *(line for line in (contract.__doc__ or "").strip().splitlines()),
        "",
    ]
    parts = [contract.Result]
    seen: set[type[BaseModel]] = set()
    while parts:
        part = parts.pop(0)
        if part in seen:
            continue
        seen.add(part)
        lines += [f"## {part.__name__}", ""]
        lines += [line.strip() for line in (part.__doc__ or "").strip().splitlines()]
        lines += ["", "| field | type |", "|---|---|"]
        for name, field in part.model_fields.items():
            lines.append(f"| `{name}` | {_spelled(field.annotation)} |")
            parts += _models(field.annotation)
        lines.append("")
    text = "\n".join(lines)
    for module in ("assay.compare.result.", "assay.evaluate.forgetting."):
        text = text.replace(module, "")
    return text.rstrip() + "\n"


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def candidates() -> str:
    """Every candidate with what it needs, as its spec has it."""
    lines = [
        "<!-- generated by `make docs` -->",
        "",
        "# Candidates",
        "",
        "By what they need beside the rows, cheapest first.",
        "",
    ]
    for group, names in registry.group_by_need(specs()).items():
        lines += [
            f"## {group.capitalize()}",
            "",
            "| candidate | what it is | what it does | needs | takes part |",
            "|---|---|---|---|---|",
        ]
        for name in names:
            spec = specs()[name]
            needs = ", ".join(need.name for need in spec.needs if need is not METHOD)
            part = "unasked" if spec.baseline else "proposed" if spec.proposed else "when named"
            row = [f"`{name}`", spec.title, spec.explanation, needs, part]
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")
    lines += [
        "Baselines take part unasked wherever there is what they need. Another package adds a",
        "candidate by an entry point of the group `assay.candidates`: its name, and a module with",
        "`SPEC` and `build` (`assay.candidates.spec`, `assay.candidates.building`).",
    ]
    return "\n".join(lines) + "\n"


def methods() -> str:
    """Every training method, as its spec has it."""
    lines = [
        "<!-- generated by `make docs` -->",
        "",
        "# Training methods",
        "",
        "`fine_tune.method`; the symbols of the losses are explained in",
        "[training](../training.md#learning-from-preferences).",
        "",
        "| method | a row holds | loss of a unit | reference | what it does |",
        "|---|---|---|---|---|",
    ]
    for name, spec in training_methods.specs().items():
        reference = "yes" if spec.reference else "no"
        row = [f"`{name}`", HOLDS[spec.learns_from], spec.formula, reference, spec.explanation]
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "Another package adds one by an entry point of the group `assay.training_methods`: its",
        "name, and a module with `SPEC` ([how](../training.md#a-method-of-your-own)).",
    ]
    return "\n".join(lines) + "\n"


PAGES = {
    "candidates.md": candidates,
    "cli.md": cli,
    "config.md": config,
    "methods.md": methods,
    "result.md": result,
}


def schema() -> str:
    """The JSON Schema of assay.yaml."""
    return json.dumps(config_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
    (FOLDER / "assay.schema.json").write_text(schema(), encoding="utf-8")
