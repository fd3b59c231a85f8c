"""`openai-chat`: {"messages": [...], "tools": [...]}, as OpenAI's fine-tuning takes it.

Read beside it: `id`, `group`, `document`, `weight` (of the whole example), `references` and
`possible` (what is as right as the target's calls), which Assay writes itself, and `assertions`. https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

from typing import Any

from assay.data.assertions import find_fault
from assay.data.formats.messages import tools, turns
from assay.data.formats.order import ordered_example
from assay.data.formats.record import (
    Record,
    RecordProblems,
    Shape,
    document_of,
    missing_field,
    shorten,
)
from assay.example import Example

_MEDIA = ("images", "image", "videos", "audios")
READS = (
    *("messages", "tools", "functions", "weight", "references", "possible", "assertions"),
    *("id", "group", "document", *_MEDIA),
)


def matches(record: Record) -> bool:
    """A list of turns, each with a role."""
    messages = record.get("messages")
    return isinstance(messages, list) and (
        not messages or any(isinstance(m, dict) and "role" in m for m in messages)
    )


def example(record: Record, default_id: str, found: RecordProblems) -> Example | None:
    """One example of the conversation, its last turn being the target."""
    refuse_media(record, found)
    if "messages" not in record:
        missing_field(record, "messages", found)
        return None
    messages = turns(record["messages"], found)
    declared = declared_tools(record, found)
    return ordered_example(
        record,
        default_id,
        found,
        messages,
        declared,
        weight=_weight(record, found),
        references=_references(record, found),
        possible=_possible(record, found),
        assertions=_assertions(record, found),
        document=document_of(record),
    )


def declared_tools(record: Record, found: RecordProblems) -> tuple[dict[str, Any], ...]:
    """`tools`, or the older `functions`."""
    if record.get("tools") is not None:
        return tools(record["tools"], found)
    return tools(record.get("functions"), found, "functions")


def refuse_media(record: Record, found: RecordProblems) -> None:
    """Images, video and audio beside the conversation make it one that Assay cannot read."""
    for key in _MEDIA:
        if record.get(key):
            found.add(
                "unsupported-content",
                f"the record contains {key}; Assay works with text only.",
                "Describe them in words, or remove the row.",
                key,
            )


def _weight(record: Record, found: RecordProblems) -> float:
    weight = record.get("weight")
    if weight is None:
        return 1.0
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
        found.add(
            "bad-weight",
            f"the weight of the example is {shorten(weight)}, not a number of at least 0.",
            "Use a number that is not negative.",
            "weight",
        )
        return 1.0
    return float(weight)


def _references(record: Record, found: RecordProblems) -> tuple[str, ...]:
    references = record.get("references")
    if references is None:
        return ()
    if isinstance(references, list) and all(isinstance(r, str) for r in references):
        return tuple(references)
    found.add(
        "wrong-type",
        f"references is {shorten(references)}, not a list of strings.",
        "List the other correct outputs as strings.",
        "references",
    )
    return ()


def _possible(record: Record, found: RecordProblems) -> tuple[dict[str, Any], ...]:
    possible = record.get("possible")
    if possible is None:
        return ()
    if isinstance(possible, list) and all(map(_is_possible, possible)):
        return tuple(possible)
    found.add(
        "bad-possible",
        f"possible is {shorten(possible)}, not a list of objects with `values` and `optional`.",
        'Write one for each call: {"values": {"city": ["Bern", "Berne"]}, "optional": ["unit"]}.',
        "possible",
    )
    return ()


def _assertions(record: Record, found: RecordProblems) -> tuple[dict[str, Any], ...]:
    assertions = record.get("assertions")
    if assertions is None:
        return ()
    fault = find_fault(assertions)
    if fault is None:
        return tuple(assertions)
    found.add(
        "bad-assertions",
        f"assertions{fault}",
        'Write a list such as [{"type": "icontains", "value": "refund"}].',
        "assertions",
    )
    return ()


def _is_possible(entry: Any) -> bool:
    """Whether it is {"values": {name: [value, ...]}, "optional": [name, ...]}, either left out."""
    if not isinstance(entry, dict) or not entry.keys() <= {"values", "optional"}:
        return False
    values, optional = entry.get("values", {}), entry.get("optional", [])
    if not isinstance(values, dict) or not isinstance(optional, list):
        return False
    lists = all(isinstance(one, list) and one for one in values.values())
    return lists and all(isinstance(name, str) for name in optional)


SHAPE = Shape("openai-chat", "messages", matches, example, reads=READS)
