"""One exchange as each program writes it down, by its documented schema.

All of them say the same: a customer's message, with an e-mail address and a key in it, is sorted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

SYSTEM = "You sort messages of customers to desks and answer with the name of the desk alone."
SECRET = "sk-proj-" + "a1B2" * 8
MAIL = "ada.lovelace@acme.io"
ASKED = f"Where is my card? Write to {MAIL}, my key is {SECRET}."
ANSWER = "card_arrival"
AT, SECONDS = "2026-03-01T10:00:00+00:00", 0.5
START = 1772359200_000_000_000
TOOL = {"name": "find", "description": "Finds a card.", "parameters": {"type": "object"}}
OFFERED = {"type": "function", "function": TOOL}


def attribute(key: str, value: Any) -> dict[str, Any]:
    """Of OTLP/JSON, lists and objects included."""
    return {"key": key, "value": any_value(value)}


def any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(one) for one in value]}}
    return {"kvlistValue": {"values": [attribute(key, one) for key, one in value.items()]}}


def span(given: dict[str, Any], events: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A request to a collector: a span of a web server, and one of a model's call."""
    common = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "gpt-4o-mini"}
    known = {**common, **given}
    call = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "chat gpt-4o-mini",
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + int(SECONDS * 1e9)),
        "attributes": [attribute(key, value) for key, value in known.items()],
        "events": events or [],
    }
    other = {"name": "GET /", "attributes": [attribute("http.request.method", "GET")]}
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [other, call]}]}]}


def event(name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "attributes": [attribute(key, value) for key, value in given.items()]}


CONTENT = [
    event("gen_ai.content.prompt", {"gen_ai.prompt": ASKED}),
    event("gen_ai.content.completion", {"gen_ai.completion": "b"}),
]
PARTS = [{"role": "user", "parts": [{"type": "text", "content": ASKED}]}]
SAID = [
    {"role": "assistant", "parts": [{"type": "text", "content": ANSWER}], "finish_reason": "stop"}
]
COUNTS = {"gen_ai.usage.input_tokens": 60, "gen_ai.usage.output_tokens": 4}
NEWEST = {
    "gen_ai.provider.name": "openai",
    **COUNTS,
    "gen_ai.system_instructions": json.dumps([{"type": "text", "content": SYSTEM}]),
    "gen_ai.input.messages": json.dumps(PARTS),
    "gen_ai.output.messages": json.dumps(SAID),
    "gen_ai.tool.definitions": json.dumps([{"type": "function", **TOOL}]),
}
STRUCTURED = {
    **NEWEST,
    "gen_ai.system_instructions": [{"type": "text", "content": SYSTEM}],
    "gen_ai.input.messages": PARTS,
    "gen_ai.output.messages": SAID,
    "gen_ai.tool.definitions": [OFFERED],
}
OLDER = {
    "gen_ai.system": "openai",
    "gen_ai.usage.prompt_tokens": 60,
    "gen_ai.usage.completion_tokens": 4,
    "gen_ai.tool.definitions": json.dumps([OFFERED]),
}
EVENTS = [
    event("gen_ai.system.message", {"content": SYSTEM}),
    event("gen_ai.user.message", {"gen_ai.event.content": json.dumps({"content": ASKED})}),
    event("gen_ai.choice", {"index": 0, "message": json.dumps({"content": ANSWER})}),
]
NUMBERED = {
    "llm.request.type": "chat",
    "gen_ai.system": "openai",
    "gen_ai.usage.prompt_tokens": 60,
    "gen_ai.usage.completion_tokens": 4,
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": SYSTEM,
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": ASKED,
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": ANSWER,
    "llm.request.functions.0.name": "find",
    "llm.request.functions.0.description": "Finds a card.",
    "llm.request.functions.0.parameters": json.dumps(TOOL["parameters"]),
}
MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASKED}]
CHOICES = [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}
]
LITELLM = {
    "id": "chatcmpl-1",
    "call_type": "acompletion",
    "status": "success",
    "custom_llm_provider": "openai",
    "model": "gpt-4o-mini",
    "startTime": START / 1e9,
    "endTime": START / 1e9 + SECONDS,
    "response_time": SECONDS / 5,  # to the first token
    "response_cost": 0.0,
    "prompt_tokens": 60,
    "completion_tokens": 4,
    "total_tokens": 64,
    "model_parameters": {"temperature": 0, "tools": [OFFERED]},
    "messages": MESSAGES,
    "response": {"object": "chat.completion", "choices": CHOICES},
}
RESPONSES = {
    **LITELLM,
    "call_type": "aresponses",
    "messages": [
        {"role": "user", "content": [{"type": "input_text", "text": ASKED}], "type": "message"}
    ],
    "model_parameters": {"instructions": SYSTEM, "tools": [{"type": "function", **TOOL}]},
    "response": {
        "object": "response",
        "output": [
            {"type": "reasoning", "summary": []},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": ANSWER, "annotations": []}],
            },
        ],
    },
}
ANTHROPIC = {
    **LITELLM,
    "call_type": "anthropic_messages",
    "messages": [MESSAGES[0], {"role": "user", "content": [{"type": "text", "text": ASKED}]}],
    "model_parameters": {
        "tools": [{"name": "find", "description": "Finds a card.", "input_schema": {}}]
    },
}
GENERATION = {
    "id": "obs-1",
    "traceId": "trace-1",
    "type": "GENERATION",
    "model": "gpt-4o-mini",
    "startTime": "2026-03-01T10:00:00.000Z",
    "endTime": "2026-03-01T10:00:00.500Z",
    "input": {"messages": MESSAGES, "tools": [OFFERED]},
    "output": {"role": "assistant", "content": ANSWER},
    "usageDetails": {"input": 60, "output": 4, "total": 64},
    "costDetails": {},
    "level": "DEFAULT",
}
LANGFUSE_TRACE = {
    "id": "trace-1",
    "observations": [{"id": "s", "type": "SPAN", "traceId": "trace-1"}, GENERATION],
    "scores": [{"name": "user-feedback", "value": 1, "observationId": None}],
}
STORED = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": START // 10**9,
    "model": "gpt-4o-mini",
    "choices": CHOICES,
    "usage": {"prompt_tokens": 60, "completion_tokens": 4},
    "tools": [OFFERED],
}
PLAIN = {
    "prompt": ASKED,
    "completion": ANSWER,
    "system": SYSTEM,
    "tools": [OFFERED],
    "model": "gpt-4o-mini",
    "at": AT,
    "seconds": SECONDS,
    "usage": {"prompt_tokens": 60, "completion_tokens": 4},
}


def as_lines(*records: Any) -> Callable[[Path], Path]:
    """Writes records, one a line."""

    def write(folder: Path) -> Path:
        file = folder / "traces.jsonl"
        file.write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")
        return file

    return write


def as_document(value: Any) -> Callable[[Path], Path]:
    """Writes one value over many lines."""

    def write(folder: Path) -> Path:
        file = folder / "traces.json"
        file.write_text(json.dumps(value, indent=2), "utf-8")
        return file

    return write


def as_rescued(folder: Path) -> Path:
    """As `assay rescue openai` writes it."""
    file = folder / "chat-completions.jsonl"
    file.write_text(json.dumps(STORED) + "\n", "utf-8")
    beside = folder / "chat-completions"
    beside.mkdir()
    rows = ({"id": f"m-{n}", "name": None, **turn} for n, turn in enumerate(MESSAGES))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (beside / "chatcmpl-1.messages.jsonl").write_text(lines, "utf-8")
    return file


FILES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "otel, newest, a line": ("otel", as_lines(span(NEWEST))),
    "otel, structured attributes, a document": ("otel", as_document(span(STRUCTURED))),
    "otel, an event with all": (
        "otel",
        as_lines(
            span(
                {"gen_ai.system": "openai", **COUNTS},
                [event("gen_ai.client.inference.operation.details", NEWEST)],
            )
        ),
    ),
    "otel, events": ("otel", as_lines(span(OLDER, EVENTS))),
    "otel, numbered attributes": ("otel", as_lines(span(NUMBERED))),
    "litellm": ("litellm", as_lines(LITELLM)),
    "litellm, a response": ("litellm", as_lines(RESPONSES)),
    "litellm, Anthropic's messages": ("litellm", as_lines(ANTHROPIC)),
    "langfuse, observations": ("langfuse", as_lines(GENERATION)),
    "langfuse, a page of its API": ("langfuse", as_document({"data": [GENERATION], "meta": {}})),
    "langfuse, traces": ("langfuse", as_document([LANGFUSE_TRACE])),
    "openai-stored, rescued": ("openai-stored", as_rescued),
    "openai-stored, messages inside": (
        "openai-stored",
        as_lines({**STORED, "messages": MESSAGES}),
    ),
    "plain, prompt and completion": ("plain", as_lines(PLAIN)),
    "plain, messages with the answer": (
        "plain",
        as_document(
            [
                {
                    **{k: v for k, v in PLAIN.items() if k not in ("prompt", "completion")},
                    "system": None,
                    "messages": [*MESSAGES, CHOICES[0]["message"]],
                }
            ]
        ),
    ),
}
"""Files of one trace, by what they are: the format, and what writes one into a folder."""
