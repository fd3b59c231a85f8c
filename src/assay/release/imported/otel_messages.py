"""Messages as spans of OpenTelemetry carry them, turned into those of OpenAI's form.

Three generations, newest first:

- attributes `gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions`, on the
  span or on the event `gen_ai.client.inference.operation.details`: turns that consist of `parts`
  (semantic conventions 1.37 and later);
- span events `gen_ai.user.message`, `gen_ai.choice` and the like (1.28 to 1.36), and before them
  `gen_ai.content.prompt` and `gen_ai.content.completion`;
- attributes `gen_ai.prompt.0.content`, `gen_ai.completion.0.content`, as OpenLLMetry writes them.

https://github.com/open-telemetry/semantic-conventions/tree/main/docs/gen-ai
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from assay.example import Message, canonical_json
from assay.release.imported.otlp import attributes
from assay.release.imported.raw import listing, loaded, mapping

INPUT, OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
INSTRUCTIONS, TOOLS = "gen_ai.system_instructions", "gen_ai.tool.definitions"
_DETAILS = "gen_ai.client.inference.operation.details"
_EVENT = re.compile(r"gen_ai\.(system|user|assistant|tool)\.message")
_NUMBERED = re.compile(r"gen_ai\.(prompt|completion)\.(\d{1,4})\.(.+)")
_CALL = re.compile(r"tool_calls\.(\d{1,3})\.(name|arguments|id)")
_FUNCTION = re.compile(r"llm\.request\.functions\.(\d{1,3})\.(name|description|parameters)")


def conversation(
    own: Mapping[str, Any], events: list[Any]
) -> tuple[list[Any] | None, Any | None, Any]:
    """What was asked, what was answered and which tools were offered; None: it is not there.

    Args:
        own: the attributes of the span.
        events: of the span, as they stand in the file.
    """
    told = [
        (mapping(one).get("name"), attributes(mapping(one).get("attributes"))) for one in events
    ]
    known = dict(own)
    for name, given in told:
        if name == _DETAILS:
            known |= given
    offered = loaded(known.get(TOOLS)) or list(_functions(known))
    messages, answer = _from_attributes(known)
    if messages is None and answer is None:
        messages, answer = _from_events(told)
    if messages is None and answer is None:
        messages, answer = _from_numbers(known)
    return messages, answer, offered


def _from_attributes(known: Mapping[str, Any]) -> tuple[list[Any] | None, Any | None]:
    said, got = loaded(known.get(INPUT)), loaded(known.get(OUTPUT))
    if not isinstance(said, list) and not isinstance(got, list):
        return None, None
    instructions = loaded(known.get(INSTRUCTIONS))
    if isinstance(instructions, str) and instructions:
        instructions = [{"type": "text", "content": instructions}]
    messages: list[Any] = []
    if isinstance(instructions, list) and instructions:
        messages += turns_of({"role": "system", "parts": instructions})
    for one in listing(said):
        messages += turns_of(one)
    answers = turns_of(got[0]) if isinstance(got, list) and got else [None]
    return messages or None, answers[0] if answers else None


def turns_of(raw: Any) -> list[Any]:
    """One message of parts as turns: each response of a tool is a turn of its own."""
    if not isinstance(raw, dict) or "parts" not in raw:
        return [raw]
    content: list[Any] = []
    calls: list[Any] = []
    responses: list[Any] = []
    for part in listing(raw["parts"]):
        kind = mapping(part).get("type")
        if kind == "text":
            content.append({"type": "text", "text": part.get("content", part.get("text"))})
        elif kind == "tool_call":
            calls.append(_call(part))
        elif kind == "tool_call_response":
            said = part.get("response", part.get("result"))
            shown = said if isinstance(said, str) else canonical_json(said)
            response = {"role": "tool", "tool_call_id": part.get("id"), "content": shown}
            responses.append({name: one for name, one in response.items() if one is not None})
        else:
            content.append(part)
    turn = {"role": raw.get("role"), "content": content}
    if isinstance(raw.get("name"), str):
        turn["name"] = raw["name"]
        responses = [{**one, "name": raw["name"]} for one in responses]
    if calls:
        turn["tool_calls"] = calls
    if not content:
        del turn["content"]
    return ([turn] if content or calls or not responses else []) + responses


def parts_of(message: Message, finish: str | None = None) -> dict[str, Any]:
    """A turn as a message of parts: what `turns_of` undoes.

    Args:
        finish: why the answer ended, which an output message tells.
    """
    parts: list[dict[str, Any]] = []
    if message.role == "tool":
        response = {"type": "tool_call_response", "response": message.content}
        if message.tool_call_id is not None:
            response["id"] = message.tool_call_id
        parts.append(response)
    elif message.content or not message.tool_calls:
        parts.append({"type": "text", "content": message.content})
    for call in message.tool_calls:
        given = {"type": "tool_call", "id": call.id, "name": call.name}
        parts.append({**given, "arguments": call.arguments})
    made: dict[str, Any] = {"role": message.role, "parts": parts}
    if message.name is not None:
        made["name"] = message.name
    return made if finish is None else {**made, "finish_reason": finish}


def _call(part: dict[str, Any]) -> dict[str, Any]:
    arguments = part.get("arguments")
    function = {"name": part.get("name"), "arguments": {} if arguments is None else arguments}
    return {"id": part.get("id"), "function": function}


def _from_events(told: list[tuple[Any, dict[str, Any]]]) -> tuple[list[Any] | None, Any | None]:
    messages: list[Any] = []
    answer: Any | None = None
    for name, given in told:
        body = {**given, **mapping(loaded(given.get("gen_ai.event.content")))}
        if isinstance(name, str) and (found := _EVENT.fullmatch(name)):
            messages.append(_event_turn(body, found[1]))
        elif name == "gen_ai.choice" and answer is None:
            inner = mapping(loaded(body.get("message")))
            shown = {"content": body["message"]} if isinstance(body.get("message"), str) else body
            answer = _event_turn(inner or shown, "assistant")
        elif name == "gen_ai.content.prompt":
            prompt = loaded(given.get("gen_ai.prompt"))
            if prompt is not None:
                asked = [{"role": "user", "content": prompt}]
                messages += prompt if isinstance(prompt, list) else asked
        elif name == "gen_ai.content.completion" and answer is None:
            said = loaded(given.get("gen_ai.completion"))
            first = said[0] if isinstance(said, list) and said else said
            shown = (
                first if isinstance(first, dict) else {"content": given.get("gen_ai.completion")}
            )
            if first is not None:  # what was said is not recorded
                answer = {"role": "assistant", **shown}
    return messages or None, answer


def _event_turn(body: dict[str, Any], role: str) -> dict[str, Any]:
    said = body.get("role")
    turn: dict[str, Any] = {"role": said if isinstance(said, str) else role}
    content, calls = body.get("content"), loaded(body.get("tool_calls"))
    if content is not None:
        turn["content"] = content if isinstance(content, str | list) else canonical_json(content)
    if calls:
        turn["tool_calls"] = calls
    if turn["role"] == "tool" and body.get("id") is not None:
        turn["tool_call_id"] = body["id"]
    return turn


def _from_numbers(known: Mapping[str, Any]) -> tuple[list[Any] | None, Any | None]:
    turns: dict[tuple[str, int], dict[str, Any]] = {}
    for name, value in known.items():
        if found := _NUMBERED.fullmatch(name):
            turn = turns.setdefault((found[1], int(found[2])), {})
            if called := _CALL.fullmatch(found[3]):
                calls = turn.setdefault("tool_calls", {})
                calls.setdefault(int(called[1]), {})[called[2]] = value
            elif found[3] in ("role", "content", "tool_call_id"):
                turn[found[3]] = value
    for turn in turns.values():
        if calls := turn.get("tool_calls"):
            turn["tool_calls"] = [calls[number] for number in sorted(calls)]
    asked = [turns[key] for key in sorted(turns) if key[0] == "prompt"]
    answers = [turns[key] for key in sorted(turns) if key[0] == "completion"]
    return asked or None, {"role": "assistant", **answers[0]} if answers else None


def _functions(known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Tools as OpenLLMetry writes them."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in known.items():
        if match := _FUNCTION.fullmatch(name):
            found.setdefault(int(match[1]), {})[match[2]] = loaded(value)
    for number in sorted(found):
        yield found[number]
