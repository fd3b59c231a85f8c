"""What a file of examples seems to be: the kind of task, its labels or schema, a first prompt.

Every proposal is a starting point that a person reads and changes in assay.yaml.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assay import json_reader
from assay.config import GraderSpec, TaskKind, join_names, labels_in
from assay.data.record_fields import ENUM_COUNT, MAX_ENUM, warn_of_fields
from assay.data.statistics import count_labels
from assay.errors import Step
from assay.example import Example
from assay.quantities import say_count

MAX_LABELS = 200
MAX_LABEL_LENGTH = 80
TRAINING_PROMPTS: dict[TaskKind, str] = {
    "label": "Classify the message.",
    "json": "Write the record of the message.",
}
"""A tuned model has learned labels and keys; naming them in every row would only cost tokens."""
LISTS_PROMPT = "List the labels of the message."
"""The same where a row carries several labels."""
_INSTRUCTIONS = ("system", "developer")
"""Roles of a system prompt."""


Judgement = Literal["answers", "pairs", "thumbs"]
"""What a row holds that is learned from: an answer, a better and a worse one, or a judged one."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What `assay init` proposes, with its reasons as sentences.

    Attributes:
        training_prompt: the system prompt of the fine-tuned model; None is `system_prompt`.
        candidates: names of those that are compared, which are chosen above this floor.
        warnings: what in the file may be a mistake that the proposal has followed, as sentences.
        learns_from: what the method of training learns from.
    """

    task: TaskKind
    labels: list[str] | None
    schema: dict[str, Any] | None
    system_prompt: str
    training_prompt: str | None
    graders: list[GraderSpec]
    primary: str
    reasons: list[str]
    candidates: Sequence[str] = ()
    good_enough: float | None = None
    learns_from: Judgement = "answers"
    warnings: Sequence[str] = ()


def propose(
    examples: Sequence[Example],
    task: TaskKind | None = None,
    held_outputs: Sequence[str] = (),
    *,
    documents: bool = False,
    of_cells: bool = False,
) -> Proposal:
    """Look at the examples and propose a project.

    Args:
        examples: at least one; a sample of the file is enough.
        task: fixed by the user, or None to find out.
        held_outputs: of the holdout's own file. They decide nothing but which sets are closed: a
            label or a value that stands there belongs to the job, though training never shows it.
        documents: candidates look into some, of which one can be trained on answers only.
        of_cells: the records are made of cells of a table, in which numbers may be texts.
    """
    outputs = [example.output for example in examples]
    reasons: list[str] = []
    if task is None:
        task, why = guess_task(Counter(outputs))
        if calling := sum(bool(example.target.tool_calls) for example in examples):
            task = "tools"
            why = (
                f"{calling} of {len(examples)} answers call a function: this looks like calling "
                "tools; an answer in words means that no call is right"
            )
        reasons.append(why)
    own = [tuple(m.content for m in e.prompt if m.role in _INSTRUCTIONS) for e in examples]
    own_prompts = sum(map(bool, own))
    labels: list[str] | None = None
    schema: dict[str, Any] | None = None
    warnings: list[str] = []
    if task == "label":
        labels = sorted({*outputs, *held_outputs})
        [(top, count)] = count_labels(Counter(outputs)).most_common(1)
        share, several = count / len(outputs), say_count(len({*map(str.strip, labels)}), "label")
        reasons.append(f"{several}; the most frequent, {top!r}, has {share:.0%} of rows")
    lists = None
    if task == "json":
        read = [(e.line, json_reader.read(e.output)) for e in examples if _is_json(e.output)]
        values = [value for _, value in read]
        held = [json_reader.read(text) for text in held_outputs if _is_json(text)]
        lists = _label_set(values, held)
        if lists is not None:
            schema = {"type": "array", "items": {"type": "string", "enum": lists}}
            reasons.append(
                f"every output lists some of {say_count(len(lists), 'label')}: several may hold"
            )
        else:
            schema = open_sets(infer_schema(values), held)
            if fields := schema.get("properties"):
                reasons.append(f"the records have {say_count(len(fields), 'field')}")
                if closed := [name for name, field in fields.items() if "enum" in field]:
                    reasons.append(
                        "only values that stand in the examples can be answered in "
                        f"{join_names(closed)} (closed lists); to allow others, {Step.OPEN_LISTS}"
                    )
                records = [(line, record) for line, record in read if isinstance(record, dict)]
                warnings = warn_of_fields(records, schema, of_cells=of_cells)
    if len(own[0]) == 1 and len(set(own)) == 1 and own[0][0].strip():
        (prompt,) = own[0]
        reasons.append("all examples have the same system prompt; a request without one gets it")
    elif own_prompts:
        prompt = ""
        reasons.append(
            f"{own_prompts} of {len(examples)} examples contain their own system prompt, which is "
            "kept"
            + ("" if own_prompts == len(examples) else "; the others have none: write one for them")
        )
    else:
        prompt = first_prompt(task, labels, schema, examples)
    graders, primary = _graders_for_lists() if lists else graders_for(task)
    trained = LISTS_PROMPT if labels_in(schema) else TRAINING_PROMPTS.get(task)
    short = None if own_prompts else trained
    learns_from, reason = propose_judgement(examples, documents=documents)
    if reason is not None:
        reasons.append(reason)
    return Proposal(
        task,
        labels,
        schema,
        prompt,
        short,
        graders,
        primary,
        reasons,
        learns_from=learns_from,
        warnings=warnings,
    )


def propose_judgement(
    examples: Sequence[Example], *, documents: bool = False
) -> tuple[Judgement, str | None]:
    """What a training can learn from examples with judged answers, and why.

    Preferences need a judgement in every row, and thumbs of both kinds; with documents they would
    keep `fine-tune-rag` from taking part.
    """
    pairs = sum(bool(example.rejected) for example in examples)
    up = sum(example.desirable is True for example in examples)
    down = sum(example.desirable is False for example in examples)
    if not pairs + up + down:
        return "answers", None
    found = f"{pairs} of {len(examples)} rows have a better and a worse answer"
    if up + down:
        found = (
            f"of {len(examples)} rows {up} have a thumb up, {down} a thumb down"
            f"{f', {pairs} a better and a worse answer' if pairs else ''}"
        )
    if documents:
        return "answers", f"{found}; with documents training learns the good answers"
    if pairs == len(examples):
        return "pairs", f"{found}: training learns the better one and the difference"
    if pairs + up + down == len(examples) and (pairs or (up and down)):
        return "thumbs", f"{found}: training learns from both kinds"
    return "answers", f"{found}; not every row has one, so training learns the good answers"


def guess_task(outputs: Mapping[str, int]) -> tuple[TaskKind, str]:
    """The kind of task that outputs look like, and why.

    Args:
        outputs: rows of each.
    """
    rows, labels = sum(outputs.values()), count_labels(outputs)
    records = sum(count for text, count in outputs.items() if _is_json(text))
    if records >= 0.95 * rows:
        found = f"{records} of {rows} answers are records: this looks like filling in records"
        return "json", found
    found = f"{say_count(rows, 'answer')}, {len(labels)} different: this looks like "
    few = len(labels) <= min(MAX_LABELS, max(2, rows // 4))
    if few and all(map(_could_be_label, outputs)):
        return "label", f"{found}sorting into labels"
    return "text", f"{found}answering in free text"


def _label_set(values: Sequence[Any], held: Sequence[Any]) -> list[str] | None:
    """The labels, sorted, of values that are lists of a few of them; None: they are no such lists.

    Args:
        held: of the holdout's own file: their labels belong to the job, too.
    """
    lists = [value for value in (*values, *held) if isinstance(value, list)]
    if not values or len(lists) < len(values) + len(held):
        return None
    items = [item for one in lists for item in one]
    if not all(isinstance(item, str) and _could_be_label(item) for item in items):
        return None
    distinct = set(items)
    doubled = any(len(set(one)) < len(one) for one in lists)
    few = 2 <= len(distinct) <= min(MAX_LABELS, max(2, len(items) // 4))
    return sorted(distinct) if few and not doubled else None


def _could_be_label(text: str) -> bool:
    return len(text) <= MAX_LABEL_LENGTH and "\n" not in text


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json_reader.read(text)
    except ValueError:
        return False
    return True


def graders_for(task: TaskKind) -> tuple[list[GraderSpec], str]:
    """Graders, and the one that decides; what is good enough is for the user to say."""
    if task == "label":
        return [GraderSpec(name="label-accuracy")], "label-accuracy"
    if task == "tools":
        names = ["call-exact", "call-name", "argument-f1", "no-call", "schema-valid"]
        return [GraderSpec(name=name) for name in names], "call-exact"
    if task == "json":
        names = ["record-exact", "field-f1", "schema-valid", "json-valid"]
        return [GraderSpec(name=name) for name in names], "record-exact"
    names = ["rouge-l", "token-f1", "chrf", "exact"]
    return [GraderSpec(name=name) for name in names], "rouge-l"


def _graders_for_lists() -> tuple[list[GraderSpec], str]:
    """Lists of labels: how many of them are right and how many are found; order does not count."""
    names = ["field-f1", "field-precision", "field-recall", "schema-valid", "json-valid"]
    return [GraderSpec(name=name) for name in names], "field-f1"


def infer_schema(values: Sequence[Any]) -> dict[str, Any]:
    """A JSON Schema that all values fit: types, required keys, closed sets, in the values' order.

    `additionalProperties` is false: a constrained answer has the fields that were seen.
    """
    kinds = {_kind(value) for value in values}
    if kinds == {"object"}:
        return _object_schema(values)
    if kinds == {"array"}:
        items = [item for value in values for item in value]
        return {"type": "array", "items": infer_schema(items)} if items else {"type": "array"}
    if len(kinds - {"null"}) == 1 and kinds - {"null"} <= {"object", "array"}:
        inner = infer_schema([value for value in values if value is not None])
        return {"anyOf": [inner, {"type": "null"}]}
    if kinds & {"object", "array"}:
        groups = [[v for v in values if _kind(v) == kind] for kind in sorted(kinds)]
        return {"anyOf": [infer_schema(group) for group in groups]}
    if "number" in kinds:
        kinds.discard("integer")
    types = sorted(kinds, key=lambda kind: (kind == "null", kind))
    schema: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    closed = _closed_set(values, kinds)
    if closed is not None:
        schema["enum"] = closed
    return schema


def open_sets(schema: dict[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    """The schema with every closed set opened that one of `values` does not keep to."""
    found = dict(schema)
    if "enum" in found and any(_kind(v) == "string" and v not in found["enum"] for v in values):
        del found["enum"]
    if "properties" in found:
        records = [value for value in values if isinstance(value, dict)]
        found["properties"] = {
            key: open_sets(inner, [record[key] for record in records if key in record])
            for key, inner in found["properties"].items()
        }
    if "items" in found:
        lists = [value for value in values if isinstance(value, list)]
        found["items"] = open_sets(found["items"], [item for value in lists for item in value])
    if "anyOf" in found:
        found["anyOf"] = [open_sets(inner, values) for inner in found["anyOf"]]
    return found


def _object_schema(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for value in values for key in value))
    return {
        "type": "object",
        "properties": {key: infer_schema([v[key] for v in values if key in v]) for key in keys},
        "required": [key for key in keys if all(key in value for value in values)],
        "additionalProperties": False,
    }


def _closed_set(values: Sequence[Any], kinds: set[str]) -> list[Any] | None:
    if "string" not in kinds or not kinds <= {"string", "null"}:
        return None
    counts = Counter(value for value in values if value is not None)
    if len(counts) > MAX_ENUM or min(counts.values()) < ENUM_COUNT:
        return None
    return sorted(counts) + ([None] if "null" in kinds else [])


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def first_prompt(
    task: TaskKind,
    labels: list[str] | None,
    schema: dict[str, Any] | None,
    examples: Sequence[Example],
) -> str:
    """A plain first system prompt; a person who knows the job will write a better one."""
    if task == "label" and labels:
        listed = "\n".join(f"- {label}" for label in dict.fromkeys(map(str.strip, labels)))
        return (
            "Classify the message. Answer with exactly one of these labels and nothing else:\n"
            f"{listed}"
        )
    if task == "json" and (several := labels_in(schema)):
        listed = "\n".join(f"- {label}" for label in several)
        return (
            "Which of these labels does the message have? Answer with a JSON list of them and "
            f"nothing else:\n{listed}"
        )
    if task == "json" and schema:
        return (
            "Read the message and answer with one JSON record and nothing else.\n"
            f"{_describe(schema)}"
        ).rstrip()
    if task == "tools":
        return (
            "Call the functions that the user's request needs, with arguments as the conversation "
            "gives them. If a function lacks an argument that it needs, ask for it; if none fits, "
            "answer in words."
        )
    words = sorted(len(example.output.split()) for example in examples)
    typical = words[len(words) // 2] if words else 0
    return (
        "Answer as the examples of this job do: same form, same tone, same terms."
        f" A typical answer has about {say_count(max(1, typical), 'word')}."
    )


def _describe(schema: dict[str, Any]) -> str:
    lines = []
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        kind = field.get("type", "value")
        text = " or ".join(kind) if isinstance(kind, list) else str(kind)
        if "enum" in field:
            values = (json.dumps(value, ensure_ascii=False) for value in field["enum"])
            text = "one of " + ", ".join(values)
        lines.append(f"- {name}: {text}" + ("" if name in required else " (only when it applies)"))
    return "The keys:\n" + "\n".join(lines) if lines else ""
