"""`plain`: one object a line or a list of them, written by a program of one's own.

What was asked: `messages` (turns in OpenAI's form; without an answer beside, its last turn is the
answer), `prompt` or `input`. What was answered: `answer`, `completion`, `output` or `response`.
Beside it, each if known: `id`, `tools`, `system`, `model`, `provider`, `prompt_tokens`,
`completion_tokens` (or both in `usage`), `cached_tokens`, `usd`, `seconds`, `at` (ISO 8601 or
seconds since 1970; or `timestamp`, `time`, `created_at`, `created`), `thumb` (up or down),
`corrected`, `finish_reason` (or `cut`). These are the names that `traces.jsonl` has, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.release.imported.raw import (
    Found,
    RawCall,
    TraceFormat,
    Unusable,
    answered,
    asked,
    finish_of,
    iso,
    mapping,
    text,
    time,
)
from assay.release.traces import Thumb

_ASKED = ("messages", "prompt", "input")
_ANSWERED = ("answer", "completion", "output", "response")
_THUMBS: dict[str, Thumb] = {"up": "up", "down": "down"}
_TIMES = ("at", "timestamp", "time", "created_at", "created")


def matches(record: dict[str, Any]) -> bool:
    """What was asked is there, and where it is no conversation, what was answered."""
    asked_by = _named(record, _ASKED)
    return asked_by == "messages" or (
        asked_by is not None and _named(record, _ANSWERED) is not None
    )


def read(record: dict[str, Any], path: Path) -> Iterator[Found]:
    """The call that the record is, or why it is none."""
    asked_by, answered_by = _named(record, _ASKED), _named(record, _ANSWERED)
    if asked_by is None:
        yield Unusable("neither messages nor a prompt nor an input is in it.")
        return
    messages = asked(record[asked_by])
    if not isinstance(messages, list) or not messages:
        yield Unusable("the messages that were asked are no list of turns.")
        return
    if answered_by is not None:
        answer, ended = answered(record[answered_by]), finish_of(record[answered_by])
    elif mapping(messages[-1]).get("role") == "assistant":
        *messages, answer = messages
        ended = None
    else:
        yield Unusable("it has no answer.")
        return
    if system := text(record.get("system")):
        messages = [{"role": "system", "content": system}, *messages]
    usage = {**mapping(record.get("usage")), **record}
    named, id = text(record.get("thumb")) or "", record.get("id")
    if isinstance(id, int) and not isinstance(id, bool):
        id = json.dumps(id)
    at = next((record[name] for name in _TIMES if record.get(name) is not None), None)
    yield RawCall(
        messages=messages,
        answer=answer,
        key=text(id) or "",
        id=id,
        tools=record.get("tools"),
        model=record.get("model"),
        provider=record.get("provider"),
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        cached_tokens=usage.get("cached_tokens"),
        usd=record.get("usd"),
        seconds=record.get("seconds"),
        at=iso(time(at)),
        thumb=_THUMBS.get(named.strip().lower()),
        corrected=record.get("corrected"),
        finish="length" if record.get("cut") is True else record.get("finish_reason", ended),
    )


def _named(record: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if record.get(name) is not None), None)


FORMAT = TraceFormat("plain", matches, read)
