"""Anthropic's messages API: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from assay import json_reader
from assay.errors import UsageError
from assay.example import Message, ToolCall
from assay.generate.remote.wire import (
    Completion,
    CompletionRequest,
    NoAnswerError,
    RefusedParameter,
    Usage,
    count,
    error_fields,
    replace_surrogates,
)
from assay.generate.stream import End, Piece, Sampling

PATH = "/messages"
HEADERS = {"anthropic-version": "2023-06-01"}
MAX_TOKENS = 4096
"""Where nothing is said: the protocol wants a number."""
_UNSUPPORTED = (
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "json_object",
    "reasoning_effort",
)
"""Of `Sampling`."""


def key_headers(key: str) -> dict[str, str]:
    """The header that carries the key, see `Wire`."""
    return {"x-api-key": key}


def request_body(request: CompletionRequest, *, stream: bool) -> dict[str, Any]:
    """See `Wire`. A seed is not part of the protocol; it is left out, as is what it would fix."""
    sampling = request.sampling
    for name in _UNSUPPORTED:
        if getattr(sampling, name):
            raise UsageError(f"Anthropic's protocol does not support {name}.")
    system, turns = _turns(request.messages)
    made: dict[str, Any] = {
        "model": request.model,
        "messages": turns,
        "max_tokens": sampling.max_new_tokens or MAX_TOKENS,
    }
    if "temperature" not in request.refused:
        made["temperature"] = min(sampling.temperature, 1.0)
    if system:
        made["system"] = system
    if sampling.top_p != 1:
        made["top_p"] = sampling.top_p
    if sampling.stop:
        made["stop_sequences"] = list(sampling.stop)
    if request.tools:
        made["tools"] = [_tool(tool) for tool in request.tools]
    chosen = sampling.tool_choice
    if chosen is not None:
        named = {"type": "tool", "name": chosen}
        made["tool_choice"] = {"type": "any"} if chosen == "required" else named
    elif sampling.schema is not None:
        form = {"type": "json_schema", "schema": sampling.schema}
        made["output_config"] = {"format": form}
    if stream:
        made["stream"] = True
    return made


def refused_parameter(raw: bytes, sent: Mapping[str, Any]) -> RefusedParameter | None:
    """See `Wire`. Newer models take no temperature.

    The protocol has no field that names the parameter. The path in front of the message does, which
    is good enough to repeat the request that was refused, and for nobody else's.
    """
    path = str(error_fields(raw).get("message")).partition(":")[0].strip("`")
    if path != "temperature" or path not in sent:
        return None
    return RefusedParameter(path, is_lasting=False)


def parse_completion(tree: dict[str, Any], sampling: Sampling) -> Completion:
    """Join the text blocks and tool calls of a reply, see `Wire`."""
    text, calls = "", []
    try:
        for block in tree["content"]:
            if block["type"] == "text":
                text += replace_surrogates(str(block["text"]))
            elif block["type"] == "tool_use":
                calls.append(ToolCall(str(block["id"]), str(block["name"]), _json(block["input"])))
    except (KeyError, TypeError):
        raise NoAnswerError("the answer has no message", is_retryable=True) from None
    return Completion(
        text, _finish(tree.get("stop_reason")), _usage(tree.get("usage")), tuple(calls)
    )


def parse_stream(events: Iterable[dict[str, Any]]) -> Iterator[Piece | End]:
    """Read the events between `message_start` and `message_stop`, see `Wire`."""
    counts: dict[str, Any] = {}
    blocks: dict[Any, list[str]] = {}
    reason, ended = None, False
    for tree in events:
        try:
            kind = tree.get("type")
            if kind == "message_start":
                counts |= tree["message"].get("usage") or {}
            elif kind == "content_block_start" and tree["content_block"]["type"] == "tool_use":
                block = tree["content_block"]
                blocks[tree["index"]] = [str(block["id"]), str(block["name"]), ""]
            elif kind == "content_block_delta":
                delta = tree["delta"]
                if delta["type"] == "text_delta" and delta["text"]:
                    yield Piece(replace_surrogates(str(delta["text"])))
                elif delta["type"] == "input_json_delta":
                    blocks[tree["index"]][2] += str(delta["partial_json"])
            elif kind == "message_delta":
                reason = tree["delta"].get("stop_reason") or reason
                counts |= tree.get("usage") or {}
            elif kind == "message_stop":
                ended = True
                break
        except (KeyError, TypeError, AttributeError):
            raise NoAnswerError("an event of the stream is malformed", is_retryable=True) from None
    if not ended:
        raise NoAnswerError("the answer was cut", is_retryable=True)
    usage = _usage(counts)
    calls = tuple(ToolCall(id, name, arguments or "{}") for id, name, arguments in blocks.values())
    yield End(_finish(reason), usage.prompt, usage.completion, usage.cached, usage.reasoning, calls)


def _turns(messages: Sequence[Message]) -> tuple[str, list[dict[str, Any]]]:
    """The system prompt, and turns of content blocks; results of tools belong to the user."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role in ("system", "developer"):
            system.append(message.content)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks: list[dict[str, Any]] = []
        if message.role == "tool":
            blocks.append(
                {
                    "type": "tool_result",
                    "tool_use_id": message.tool_call_id,
                    "content": message.content,
                }
            )
        elif message.content:
            blocks.append({"type": "text", "text": message.content})
        for call in message.tool_calls:
            blocks.append(
                {
                    "type": "tool_use",
                    "id": call.id,
                    "name": call.name,
                    "input": _arguments(call),
                }
            )
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return "\n\n".join(system), turns


def _arguments(call: ToolCall) -> Any:
    try:
        read = json_reader.read(call.arguments or "{}")
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise UsageError(f"the arguments of the call {call.id} are not a JSON object.")
    return read


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    made = {
        "name": function["name"],
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }
    if function.get("description"):
        made["description"] = function["description"]
    return made


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _finish(reason: Any) -> Any:
    return "length" if reason in ("max_tokens", "model_context_window_exceeded") else "stop"


def _usage(tree: Any) -> Usage:
    """`input_tokens` are those that were neither read from the cache nor written to it."""
    fresh, cached = count(tree, "input_tokens"), count(tree, "cache_read_input_tokens")
    written = count(tree, "cache_creation_input_tokens")
    prompt = None if fresh is None else fresh + (cached or 0) + (written or 0)
    return Usage(prompt, count(tree, "output_tokens"), cached)
