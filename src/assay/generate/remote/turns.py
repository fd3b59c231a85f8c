"""Turns as providers take them: every call has an id of its own, and a result.

Examples that are shown before a conversation end with the call that was right, without what it
returned, and bring ids that stand in other examples, too. Providers refuse both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from assay.example import Message

NO_RESULT = "(no result)"


def complete_calls(messages: Sequence[Message]) -> list[Message]:
    """The turns, an id that was there before changed, a call without a result given `NO_RESULT`."""
    made: list[Message] = []
    seen: set[str] = set()
    ids: dict[str, str] = {}
    for place, message in enumerate(messages):
        if message.role == "tool":
            id = message.tool_call_id
            made.append(replace(message, tool_call_id=ids.get(id, id) if id else id))
            continue
        if not message.tool_calls:
            made.append(message)
            continue
        ids = {}
        for call in message.tool_calls:
            ids[call.id] = _unused(call.id, seen)
            seen.add(ids[call.id])
        calls = tuple(replace(call, id=ids[call.id]) for call in message.tool_calls)
        made.append(replace(message, tool_calls=calls))
        results = list(takewhile(lambda one: one.role == "tool", messages[place + 1 :]))
        answered = {result.tool_call_id for result in results}
        made += [
            Message("tool", NO_RESULT, tool_call_id=ids[call.id])
            for call in message.tool_calls
            if call.id not in answered
        ]
    return made


def _unused(id: str, seen: set[str]) -> str:
    number, made = 1, id
    while made in seen:
        number += 1
        made = f"{id}_{number}"
    return made
