"""`prompt-completion`: {"prompt": ..., "completion": ...}, each text or a list of turns (TRL)."""

from __future__ import annotations

from assay.data.formats.messages import tools
from assay.data.formats.order import ordered_example
from assay.data.formats.preferences import as_turns
from assay.data.formats.record import (
    Record,
    RecordProblems,
    Shape,
    document_of,
    group_of,
    identity,
    text_field,
)
from assay.example import Example


def matches(record: Record) -> bool:
    """Whether a record has both fields, `prompt` and `completion`."""
    return "prompt" in record and "completion" in record


def example(record: Record, default_id: str, found: RecordProblems) -> Example | None:
    """One example; the completion is taken as it stands, leading space included."""
    if isinstance(record.get("prompt"), list) or isinstance(record.get("completion"), list):
        messages = (
            *as_turns(record, "prompt", "user", found),
            *as_turns(record, "completion", "assistant", found),
        )
        declared, document = tools(record.get("tools"), found), document_of(record)
        return ordered_example(record, default_id, found, messages, declared, document=document)
    asked = text_field(record, "prompt", found)
    answer = text_field(record, "completion", found)
    if found.failed:
        return None
    return Example.of(
        asked,
        answer,
        id=identity(record, default_id),
        group=group_of(record),
        document=document_of(record),
        line=found.line,
    )


SHAPE = Shape("prompt-completion", "prompt, completion", matches, example)
