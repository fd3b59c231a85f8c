"""Whether the turns of a conversation stand in an order that can be learned from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from assay import json_reader
from assay.data.formats.record import Record, RecordProblems, group_of, identity
from assay.example import Example, Message


def ordered_example(
    record: Record,
    default_id: str,
    found: RecordProblems,
    messages: tuple[Message, ...],
    tools: tuple[dict[str, Any], ...],
    path: str = "messages",
    **more: Any,
) -> Example | None:
    """The example of a conversation, or None where something is wrong with it.

    Args:
        path: of the conversation in the record.
        more: further fields of the example.
    """
    if not found.failed:
        check_order(messages, tools, found, path)
    if found.failed:
        return None
    id, group = identity(record, default_id), group_of(record)
    return Example(id, messages, tools, group=group, line=found.line, **more)


def check_order(
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]],
    found: RecordProblems,
    path: str = "messages",
) -> None:
    """Add to `found` what is wrong with the order of turns whose last one is to be the target."""
    if not messages:
        return
    if not any(m.role == "assistant" for m in messages):
        found.add(
            "no-assistant-turn",
            "the conversation has no assistant turn.",
            "Add the answer, or remove the row.",
            path,
        )
        return
    if messages[-1].role != "assistant":
        found.add(
            "does-not-end-with-assistant",
            f"the last turn has the role {messages[-1].role}; it must be an assistant turn, which "
            "is what is learned and measured.",
            "Add the answer, or remove the turns after the last answer.",
            f"{path}[{len(messages) - 1}]",
        )
    _check_neighbours(messages, found, path)
    _check_calls(messages, tools, found, path)
    _check_trained(messages, found, path)


def _check_neighbours(messages: Sequence[Message], found: RecordProblems, path: str) -> None:
    before: Message | None = None
    for index, message in enumerate(messages):
        where = f"{path}[{index}]"
        if message.role in ("system", "developer"):
            if before is not None:
                found.add(
                    "roles-out-of-order",
                    f"a {message.role} turn follows a {before.role} turn.",
                    "Move it to the start.",
                    where,
                )
            continue
        if before is None and message.role == "assistant":
            found.add(
                "roles-not-alternating",
                "the conversation starts with the assistant; many models do not support that.",
                "Start with the user's turn if there was one.",
                where,
            )
        elif before is not None and message.role == before.role in ("user", "assistant"):
            found.add(
                "roles-not-alternating",
                f"there are two {message.role} turns in a row; many models do not support that.",
                "Merge them into one turn.",
                where,
            )
        before = message


def _check_calls(
    messages: Sequence[Message], tools: Sequence[dict[str, Any]], found: RecordProblems, path: str
) -> None:
    declared = {tool["function"]["name"] for tool in tools}
    for index, message in enumerate(messages):
        for call in message.tool_calls:
            if declared and call.name not in declared:
                found.add(
                    "undeclared-tool",
                    f"the assistant calls {call.name}, which is not defined in the tools.",
                    "Define it, or correct the name.",
                    f"{path}[{index}].tool_calls",
                )
        results = list(takewhile(lambda one: one.role == "tool", messages[index + 1 :]))
        answered = {result.tool_call_id for result in results}
        calls = len(message.tool_calls)
        if calls > 1 and any(_count_results(result) >= calls for result in results):
            continue
        open_calls = [call.name for call in message.tool_calls if call.id not in answered]
        if open_calls and index < len(messages) - 1:
            found.add(
                "unanswered-tool-call",
                f"the call of {open_calls[0]} gets no tool turn.",
                "Add a tool turn with what the tool returned.",
                f"{path}[{index}]",
            )


def _count_results(message: Message) -> int:
    """Formats that name no calls may give the results of several as one list."""
    try:
        value = json_reader.read(message.content)
    except ValueError:
        return 0
    return len(value) if isinstance(value, list) else 0


def _check_trained(messages: Sequence[Message], found: RecordProblems, path: str) -> None:
    if not any(m.trained for m in messages if m.role == "assistant"):
        found.add(
            "nothing-trained",
            "every assistant turn has weight 0.",
            "Give the turns that are to be learned weight 1.",
            path,
        )
    elif messages[-1].role == "assistant" and not messages[-1].trained:
        found.add(
            "target-not-trained",
            "the last turn has weight 0: it is measured, but not learned.",
            "Give it weight 1, or end the conversation after the last turn that should be learned.",
            f"{path}[{len(messages) - 1}].weight",
        )
