"""`openai-stored`: chat completions that OpenAI stored, one a line, as `assay rescue openai` writes
them to `chat-completions.jsonl`, with what was asked in `chat-completions/ID.messages.jsonl`.

Fields: `id`, `choices`, `model`, `created`, `usage`, `tools`; `messages` where the line itself has
them. https://platform.openai.com/docs/api-reference/chat/list
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.errors import DataError
from assay.release.imported.raw import (
    Found,
    RawCall,
    TraceFormat,
    Unusable,
    answered,
    finish_of,
    iso,
    mapping,
    text,
    time,
)
from assay.rescue.folder import is_usable, rows

_MOST_BYTES = 4 * 2**20
"""Of the messages of one completion; many of them are longer than a trace may be."""
_TURN = ("role", "content", "name", "tool_calls", "tool_call_id")


def matches(record: dict[str, Any]) -> bool:
    """OpenAI says what it is."""
    return record.get("object") == "chat.completion" and "choices" in record


def read(record: dict[str, Any], path: Path) -> Iterator[Found]:
    """Its one call, with the messages that are beside the file."""
    id, messages = record.get("id"), record.get("messages")
    if messages is None:
        if not is_usable(id):
            yield Unusable("its id is not one that may be part of a file's name.")
            return
        file = path.parent / path.name.partition(".")[0] / f"{id}.messages.jsonl"
        try:
            messages = [_turn(row) for row in rows(file, _MOST_BYTES)]
        except (ValueError, OSError, DataError):
            yield Unusable("the file of its messages cannot be read.")
            return
        if not messages:
            yield Unusable(f"its messages are not here ({file.parent.name}/ID.messages.jsonl).")
            return
    usage = mapping(record.get("usage"))
    yield RawCall(
        messages=messages,
        answer=answered(record),
        key=text(id) or "",
        id=id,
        tools=record.get("tools"),
        model=record.get("model"),
        provider="openai",
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        cached_tokens=mapping(usage.get("prompt_tokens_details")).get("cached_tokens"),
        at=iso(time(record.get("created"))),
        finish=finish_of(record),
    )


def _turn(row: Any) -> Any:
    """A turn of the list, without the ids that the list adds and what is null."""
    if not isinstance(row, dict):
        return row
    parts = row.get("content_parts")
    known = {name: row[name] for name in _TURN if row.get(name) is not None}
    if "content" not in known and isinstance(parts, list) and parts:
        known["content"] = parts
    return known


FORMAT = TraceFormat("openai-stored", matches, read)
