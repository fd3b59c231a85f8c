"""OpenLLMetry's instrumentation of the client `openai`, exported by OpenTelemetry's own SDK."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tests.compat.logs.provider import PARAMETERS, QUESTION, SYSTEM, provider

ASK: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
TOOL: Any = {"name": "find", "description": "Finds a card.", "parameters": PARAMETERS}
AFTER: list[Any] = [
    *ASK,
    {
        "role": "assistant",
        "tool_calls": [
            {
                "id": "c",
                "type": "function",
                "function": {"name": "find", "arguments": '{"card": 3}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c", "content": "at the bank"},
]


class Lines(SpanExporter):
    """Each export as a line of OTLP/JSON."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.lines.append(json.dumps(MessageToDict(encode_spans(spans))) + "\n")
        return SpanExportResult.SUCCESS


def write(folder: Path) -> None:
    """Spans of a chat, one with a tool, one after its result, one that is streamed, a response."""
    exporter = Lines()
    tracing = TracerProvider(resource=Resource({"service.name": "shop"}))
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    OpenAIInstrumentor().instrument(tracer_provider=tracing)
    with provider() as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
        chat = client.chat.completions
        chat.create(model="gpt-4o-mini", messages=ASK)
        chat.create(
            model="gpt-4o-mini", messages=ASK, tools=[{"type": "function", "function": TOOL}]
        )
        chat.create(model="gpt-4o-mini", messages=AFTER)
        for _ in chat.create(
            model="gpt-4o-mini",
            messages=ASK,
            stream=True,
            stream_options={"include_usage": True},
        ):
            pass
        client.responses.create(model="gpt-4o-mini", instructions=SYSTEM, input=QUESTION)
        tracing.shutdown()
        text = "".join(exporter.lines).replace(url, "http://127.0.0.1:8000")
    (folder / "openllmetry.jsonl").write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
