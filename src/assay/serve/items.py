"""Items of `/v1/responses` and `/v1/conversations`: as clients send them, and as they are kept."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from assay.example import ToolCall
from assay.serve.conversation import Content, TextPart
from assay.serve.route import Strict


class MessageItem(Strict):
    """A turn."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    id: str | None = None
    status: str | None = None
    phase: str | None = None

    def to_kept(self) -> dict[str, Any]:
        """As it is kept, with an id of its own."""
        kind = "output_text" if self.role == "assistant" else "input_text"
        phase = {} if self.phase is None else {"phase": self.phase}
        return {
            "id": new_id("msg"),
            "type": "message",
            "role": self.role,
            "status": "completed",
            "content": _parts(self.content, kind),
            **phase,
        }


class CallItem(Strict):
    """A call that the assistant has made."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    parsed_arguments: Any = None
    id: str | None = None
    status: str | None = None

    def to_kept(self) -> dict[str, Any]:
        """As it is kept, with an id of its own."""
        return call_item(ToolCall(self.call_id, self.name, self.arguments))


class OutputItem(Strict):
    """What the called function has returned."""

    type: Literal["function_call_output"]
    call_id: str
    output: Content
    id: str | None = None
    status: str | None = None

    def to_kept(self) -> dict[str, Any]:
        """As it is kept, with an id of its own."""
        given = self.output
        return {
            "id": new_id("fco"),
            "type": "function_call_output",
            "call_id": self.call_id,
            "output": given if isinstance(given, str) else _parts(given, "input_text"),
            "status": "completed",
        }


Item = MessageItem | CallItem | OutputItem


def new_id(kind: str) -> str:
    """An id that no item has."""
    return f"{kind}_{secrets.token_hex(12)}"


def call_item(call: ToolCall) -> dict[str, Any]:
    """A call as an item."""
    return {
        "id": new_id("fc"),
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "status": "completed",
    }


def without_logprobs(item: dict[str, Any]) -> dict[str, Any]:
    """An item as it is kept: its log-probabilities take far more than its text."""
    if item["type"] != "message":
        return item
    parts = [{**part, "logprobs": []} if "logprobs" in part else part for part in item["content"]]
    return {**item, "content": parts}


def _parts(content: Content, kind: str) -> list[dict[str, Any]]:
    given = [TextPart(type="text", text=content)] if isinstance(content, str) else content
    return [_part(part, kind) for part in given]


def _part(part: TextPart, kind: str) -> dict[str, Any]:
    if part.type == "refusal" and not part.text:
        return {"type": "refusal", "refusal": part.refusal}
    text = {"type": kind, "text": part.text or part.refusal}
    return {**text, "annotations": [], "logprobs": []} if kind == "output_text" else text
