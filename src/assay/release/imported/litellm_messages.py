"""Calls of `/v1/responses` and of Anthropic's `/v1/messages`, as LiteLLM logs them, in the form of
chat completions.

Of responses a record has what was sent and what came back, in items. Of messages it has what was
sent, in Anthropic's blocks, and what came back as a chat completion; a system prompt only where
that is a text and the model Anthropic's: one in blocks, or of a call that LiteLLM sends on to
another provider, is nowhere in the record.
"""

from __future__ import annotations

from typing import Any

from assay.release.imported.raw import Unusable, asked, listing, mapping

_BEFORE = ("previous_response_id", "conversation", "prompt")
_REASONING = ("thinking", "redacted_thinking")


def of_responses(
    sent: Any, response: dict[str, Any], parameters: dict[str, Any]
) -> tuple[list[Any], Any, Any] | Unusable:
    """Messages, answer and why it ended of a call of `/v1/responses`.

    Args:
        sent: the `messages` of the record, which is the request's `input`.
        parameters: the others of the request.
    """
    known = {**response, **{name: one for name, one in parameters.items() if one is not None}}
    if any(known.get(name) is not None for name in _BEFORE):
        return Unusable("it goes on from what is kept at the provider, which the record has not.")
    instructions = known.get("instructions")
    messages = [{"role": "system", "content": instructions}] if instructions else []
    for item in listing(asked(sent)):
        messages += _turn_of(item, messages)
    output: list[Any] = []
    for item in listing(response.get("output")):
        output += _turn_of(item, output)
    if len(output) != 1 or mapping(output[0]).get("role") != "assistant":
        return Unusable("its answer is not one text, or calls of functions.")
    ended = mapping(response.get("incomplete_details")).get("reason")
    return messages, output[0], "length" if ended == "max_output_tokens" else ended


def _turn_of(item: Any, before: list[Any]) -> list[Any]:
    """The turn that an item is, if it is one; a call is put to a turn of the assistant's."""
    if not isinstance(item, dict):
        return [{}]  # which is no turn, and is told so
    kind = item.get("type", "message")
    if kind == "message":
        return [{"role": item.get("role"), "content": item.get("content")}]
    if kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "function": function}
        if before and mapping(before[-1]).get("role") == "assistant":
            before[-1].setdefault("tool_calls", []).append(call)
            return []
        return [{"role": "assistant", "tool_calls": [call]}]
    if kind == "function_call_output":
        said, id = item.get("output"), item.get("call_id")
        return [{"role": "tool", "tool_call_id": id, "content": said}]
    return [] if kind == "reasoning" else [{}]


def of_messages(sent: Any) -> list[Any] | Unusable:
    """The messages of a call of `/v1/messages`."""
    messages = [turn for one in listing(sent) for turn in _turns_of(one)]
    if not messages or mapping(messages[0]).get("role") != "system":
        return Unusable(
            "it has no system prompt, and LiteLLM leaves one in blocks out of its log, as that of "
            "a call which goes on to a provider other than Anthropic."
        )
    return messages


def _turns_of(message: Any) -> list[Any]:
    """One message of blocks as turns: each result of a tool is a turn of its own."""
    blocks = mapping(message).get("content")
    if not isinstance(blocks, list):
        return [message]
    content: list[Any] = []
    calls: list[Any] = []
    results: list[Any] = []
    for block in blocks:
        kind = mapping(block).get("type")
        if kind == "tool_use":
            function = {"name": block.get("name"), "arguments": block.get("input")}
            calls.append({"id": block.get("id"), "function": function})
        elif kind == "tool_result":
            said, id = block.get("content"), block.get("tool_use_id")
            shown = "" if said is None else said
            results.append({"role": "tool", "tool_call_id": id, "content": shown})
        elif kind not in _REASONING:
            content.append(block)
    turn = {"role": message.get("role"), **({"content": content} if content else {})}
    if calls:
        turn["tool_calls"] = calls
    return [*results, *([turn] if content or calls or not results else [])]


def tools_of_messages(offered: Any) -> Any:
    """Tools as Anthropic defines them, in OpenAI's form; others as they are."""
    return [_tool(one) for one in offered] if isinstance(offered, list) else offered


def _tool(tool: Any) -> Any:
    if "input_schema" not in mapping(tool):
        return tool
    known = {name: tool[name] for name in ("name", "description") if name in tool}
    return {"type": "function", "function": {**known, "parameters": tool["input_schema"]}}
