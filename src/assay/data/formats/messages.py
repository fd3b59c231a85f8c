"""Turns in OpenAI's wire form, checked one by one and in their order.

Other conversation formats are rewritten into this form first, so that there is one set of rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from assay import json_reader
from assay.data.formats.record import Record, RecordProblems, json_text, shorten
from assay.example import ROLES, Message, Role, ToolCall

_TEXT_PARTS = ("text", "input_text", "output_text")
_REASONING_PARTS = ("reasoning", "thinking")


class Names(NamedTuple):
    """What the format at hand calls role and content, for messages."""

    role: str
    content: str


_OPENAI = Names("role", "content")


def turns(
    raw: Any, found: RecordProblems, path: str = "messages", names: Names = _OPENAI
) -> tuple[Message, ...]:
    """Parse a list of turns; anything wrong goes into `found`. The order is not checked.

    Tool calls without an id get one (`call_1`, `call_2`, ...), and tool turns without one answer
    the first call that is still open.
    """
    if not isinstance(raw, list) or not raw:
        kind = "is empty" if isinstance(raw, list) else f"is {shorten(raw)}, not a list of turns"
        found.add(
            "no-messages",
            f"{path} {kind}.",
            "Add the turns of the conversation, or remove the row.",
            path,
        )
        return ()
    messages: list[Message] = []
    for index, turn in enumerate(raw):
        where = f"{path}[{index}]"
        if not isinstance(turn, dict):
            found.add(
                "wrong-type",
                f"the turn is {shorten(turn)}, not an object.",
                f'Write it as {{"{names.role}": ..., "{names.content}": ...}}.',
                where,
            )
            continue
        message = _turn(turn, found, where, names, _open_calls(messages), _count_calls(messages))
        if message is not None:
            messages.append(message)
    return tuple(messages)


def _count_calls(messages: Sequence[Message]) -> int:
    return sum(len(m.tool_calls) for m in messages)


def _open_calls(messages: Sequence[Message]) -> dict[str, str]:
    """Ids and names of the calls that no tool turn has answered, first call first."""
    calls: dict[str, str] = {}
    for message in messages:
        if message.role == "assistant":
            calls = {call.id: call.name for call in message.tool_calls}
        elif message.role == "tool":
            calls.pop(message.tool_call_id or "", None)
    return calls


def _turn(
    turn: Record, found: RecordProblems, where: str, names: Names, calls: dict[str, str], count: int
) -> Message | None:
    role = turn.get("role")
    if role == "function":
        role = "tool"
    if role not in ROLES:
        found.add(
            "unknown-role",
            f"the {names.role} is {shorten(turn.get('role'))}."
            if "role" in turn
            else f"the turn has no {names.role}.",
            f"Use one of: {', '.join(ROLES)}.",
            f"{where}.{names.role}",
        )
        return None
    content, in_parts = _content(turn.get("content"), found, f"{where}.{names.content}")
    if turn.get("reasoning_content") or turn.get("reasoning"):
        _reasoning_left_out(found, where)
    tool_calls: tuple[ToolCall, ...] = ()
    asked = [*in_parts, *_asked(turn, found, where)]
    if asked and role != "assistant":
        found.add(
            "bad-tool-call",
            f"a turn with the role {role} calls a tool.",
            "Only assistant turns can call tools.",
            where,
        )
    elif asked:
        tool_calls = tuple(_call(raw, found, where, count + i + 1) for i, raw in enumerate(asked))
    if turn.get("content") is None and not asked:
        found.add(
            "content-not-text",
            f"the turn has no {names.content}.",
            "Add its text, or remove the row.",
            f"{where}.{names.content}",
        )
    name = turn.get("name")
    return Message(
        role=cast(Role, role),
        content=content,
        tool_calls=tool_calls,
        tool_call_id=_answered(turn, found, where, calls) if role == "tool" else None,
        name=name if isinstance(name, str) else None,
        trained=_trained(turn, found, where),
    )


def _content(raw: Any, found: RecordProblems, where: str) -> tuple[str, list[Any]]:
    """The text of a turn, and the tool calls that some formats keep among its parts."""
    if raw is None:
        return "", []
    if isinstance(raw, str):
        return raw, []
    if not isinstance(raw, list):
        found.add(
            "content-not-text",
            f"the content is {shorten(raw)}, not text.",
            "Write it as a string; write a record as a string of JSON.",
            where,
        )
        return "", []
    texts: list[str] = []
    calls: list[Any] = []
    for index, part in enumerate(raw):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            texts.append(part)
        elif kind in _TEXT_PARTS and isinstance(part.get("text", part.get("value")), str):
            texts.append(part.get("text", part.get("value")))
        elif kind == "refusal" and isinstance(part.get("refusal"), str):
            texts.append(part["refusal"])
        elif kind == "tool_call":
            calls.append(part.get("value"))
        elif kind in _REASONING_PARTS:
            _reasoning_left_out(found, where)
        elif isinstance(kind, str) and kind not in _TEXT_PARTS:
            found.add(
                "unsupported-content",
                f"the turn contains a part of type {kind}; Assay works with text only.",
                "Describe it in words, or remove the row.",
                f"{where}[{index}]",
            )
        else:
            found.add(
                "content-not-text",
                f"the part is {shorten(part)}, which is not a content part.",
                'Write it as {"type": "text", "text": ...}.',
                f"{where}[{index}]",
            )
    return "".join(texts), calls


def _reasoning_left_out(found: RecordProblems, where: str) -> None:
    if not any(p.code == "reasoning-left-out" for p in found.problems):
        found.add(
            "reasoning-left-out",
            "the turn contains reasoning in addition to its answer; only the answer is learned.",
            "No action needed. If the model should also learn the reasoning, move it into the "
            "text.",
            where,
        )


def _asked(turn: Record, found: RecordProblems, where: str) -> list[Any]:
    calls = turn.get("tool_calls")
    if calls is None:
        legacy = turn.get("function_call")
        return [] if legacy is None else [legacy]
    if isinstance(calls, list):
        return calls
    found.add(
        "bad-tool-call",
        f"tool_calls is {shorten(calls)}, not a list.",
        "Write a list of calls.",
        f"{where}.tool_calls",
    )
    return []


def _call(raw: Any, found: RecordProblems, where: str, number: int) -> ToolCall:
    """One call: OpenAI's object, {name, arguments}, or either as JSON text."""
    where = f"{where}.tool_calls"
    call = _loaded(raw) if isinstance(raw, str) else raw
    function = call.get("function", call) if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        found.add(
            "bad-tool-call",
            f"the call {shorten(raw)} does not name a function.",
            'Write it as {"name": ..., "arguments": {...}}.',
            where,
        )
        return ToolCall("", "", "{}")
    id = call.get("id") if isinstance(call, dict) else None
    return ToolCall(
        id=id if isinstance(id, str) and id else f"call_{number}",
        name=name,
        arguments=_arguments(function.get("arguments"), found, f"{where} ({name})"),
    )


def _arguments(raw: Any, found: RecordProblems, where: str) -> str:
    if isinstance(raw, dict):
        return json_text(raw)
    if isinstance(raw, str) and isinstance(_loaded(raw), dict):
        return raw
    found.add(
        "arguments-not-json",
        f"the arguments are {shorten(raw)}, not the JSON text of an object.",
        'Write them as a string such as "{\\"city\\": \\"Bern\\"}".',
        where,
    )
    return "{}"


def _loaded(text: str) -> Any:
    try:
        return json_reader.read(text)
    except ValueError:
        return None


def _answered(turn: Record, found: RecordProblems, where: str, calls: dict[str, str]) -> str | None:
    """Which open call a tool turn answers: by id, by name, else the first."""
    id, name = turn.get("tool_call_id"), turn.get("name")
    if isinstance(id, str) and id in calls:
        return id
    if id is None:
        by_name = next((i for i, n in calls.items() if n == name), None)
        if by_name or calls:
            return by_name or next(iter(calls))
    which = f"no call {id}" if id is not None else "no tool call"
    found.add(
        "unmatched-tool-turn",
        f"{which} was made by the assistant before this tool turn.",
        "Put it after the assistant's turn with that call, or remove the row.",
        where,
    )
    return None


def _trained(turn: Record, found: RecordProblems, where: str) -> bool:
    weight = turn.get("weight", 1)
    if weight is None:
        return True
    if isinstance(weight, bool) or weight not in (0, 1):
        found.add(
            "bad-weight",
            f"the weight is {shorten(weight)}, not 0 or 1.",
            "Use 0 (not learned) or 1 (learned).",
            f"{where}.weight",
        )
    elif weight == 0 and turn.get("role") == "assistant":
        return False
    return True


def tools(raw: Any, found: RecordProblems, field: str = "tools") -> tuple[dict[str, Any], ...]:
    """Tool definitions in OpenAI's form, from a list or its JSON text; bare ones are wrapped."""
    if raw is None or raw == "" or raw == []:
        return ()
    listed = _loaded(raw) if isinstance(raw, str) else raw
    if not isinstance(listed, list):
        found.add(
            "bad-tools",
            f"{field} is {shorten(raw)}, not a list of tool definitions.",
            "Write a list, or the JSON text of one.",
            field,
        )
        return ()
    read: list[dict[str, Any]] = []
    for index, tool in enumerate(listed):
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            found.add(
                "bad-tools",
                f"the tool {shorten(tool)} has no name.",
                'Write it as {"type": "function", "function": {"name": ..., "parameters": ...}}.',
                f"{field}[{index}]",
            )
        elif function is tool:
            bare = {key: value for key, value in tool.items() if key != "type"}
            read.append({"type": "function", "function": bare})
        else:
            read.append(tool)
    return tuple(read)
