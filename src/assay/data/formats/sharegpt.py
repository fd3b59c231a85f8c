"""`sharegpt`: {"conversations": [{"from": "human", "value": ...}, ...]}, with tools and system.

`function_call` turns hold {"name", "arguments"} (or a list of them) as JSON text, `observation`
turns what the tool gave back. `chosen` and `rejected` turns beside the conversation make it a
preference, as in LLaMA-Factory's DPO files.
"""

from __future__ import annotations

from typing import Any

from assay import json_reader
from assay.data.formats.messages import Names, tools, turns
from assay.data.formats.openai_chat import refuse_media
from assay.data.formats.order import ordered_example
from assay.data.formats.preferences import pair
from assay.data.formats.record import (
    Record,
    RecordProblems,
    Shape,
    missing_field,
)
from assay.example import Example

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "tool": "tool",
    "system": "system",
}
_CALLS = ("function_call", "tool_call")
_KEYS = ("conversations", "conversation", "messages")
_NAMES = Names("from", "value")


def _key(record: Record) -> str | None:
    """The field that holds the conversation."""
    for key in _KEYS:
        turns_ = record.get(key)
        if isinstance(turns_, list) and (key != "messages" or _says_from(turns_)):
            return key
    return None


def _says_from(turns_: list[Any]) -> bool:
    return any(isinstance(turn, dict) and "from" in turn for turn in turns_)


def matches(record: Record) -> bool:
    """A list of turns with from and value."""
    return _key(record) is not None


def example(record: Record, default_id: str, found: RecordProblems) -> Example | None:
    """One example; with chosen and rejected a preference."""
    refuse_media(record, found)
    key = _key(record)
    if key is None:
        missing_field(record, "conversations", found)
        return None
    listed = [_as_openai(turn) for turn in record[key]]
    system = record.get("system")
    if isinstance(system, str) and system:
        listed.insert(0, {"role": "system", "content": system})
    messages = turns(listed, found, key, _NAMES)
    declared = tools(record.get("tools"), found)
    if "chosen" in record and "rejected" in record:
        chosen, rejected = (
            turns(_answer(record[name]), found, name, _NAMES) for name in ("chosen", "rejected")
        )
        names = ("chosen", "rejected")
        return pair(messages, chosen, rejected, declared, record, default_id, found, names)
    return ordered_example(record, default_id, found, messages, declared, key)


def _answer(raw: Any) -> Any:
    """A preferred or rejected answer as a list of turns; it may be text, a turn or a list."""
    if isinstance(raw, str):
        return [{"role": "assistant", "content": raw}]
    if isinstance(raw, dict):
        return [_as_openai(raw)]
    return [_as_openai(turn) for turn in raw] if isinstance(raw, list) else raw


def _as_openai(turn: Any) -> Any:
    """A turn in OpenAI's form; one that already says role, or is no turn, stays as it is."""
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    said, value = turn["from"], turn.get("value")
    role = _ROLES.get(said, said) if isinstance(said, str) else said
    if said in _CALLS:
        return {"role": role, "content": "", "tool_calls": _listed_calls(value)}
    rewritten = {"role": role, "content": value}
    if "weight" in turn:
        rewritten["weight"] = turn["weight"]
    return rewritten


def _listed_calls(value: Any) -> list[Any]:
    """The calls in a function_call turn; what is not JSON is left for the check of calls."""
    try:
        calls = json_reader.read(value) if isinstance(value, str) else value
    except ValueError:
        calls = value
    return calls if isinstance(calls, list) else [calls]


SHAPE = Shape("sharegpt", "conversations", matches, example)
