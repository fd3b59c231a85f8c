"""Items of OpenAI's Responses, as they are kept, as turns of a conversation.

join_turns([message_of(item) for item in items])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.example import Message, ToolCall


def message_of(kept: dict[str, Any]) -> Message:
    """An item as the rest of Assay has it; a call is a turn of its own, which `join_turns` puts
    together with its neighbours."""
    kind = kept["type"]
    if kind == "function_call":
        call = ToolCall(kept["call_id"], kept["name"], kept["arguments"])
        return Message("assistant", "", (call,))
    if kind == "function_call_output":
        return Message("tool", join_parts(kept["output"]), tool_call_id=kept["call_id"])
    return Message(kept["role"], join_parts(kept["content"]))


def join_turns(messages: Sequence[Message]) -> list[Message]:
    """Calls that follow each other, or a text of the assistant's, are one turn."""
    turns: list[Message] = []
    for message in messages:
        if message.tool_calls and turns and turns[-1].role == "assistant":
            before = turns.pop()
            calls = (*before.tool_calls, *message.tool_calls)
            message = Message("assistant", before.content, calls)
        turns.append(message)
    return turns


def join_parts(content: str | list[dict[str, Any]] | None) -> str:
    """The text of a content that may be in parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)
