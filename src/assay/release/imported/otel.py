"""`otel`: spans of OpenTelemetry's GenAI conventions in OTLP/JSON, one request to a collector a
line (as its file exporter writes them) or a single one; read and written.

Of a span whose `gen_ai.operation.name` is an answer's: `gen_ai.response.model` or
`gen_ai.request.model`, `gen_ai.provider.name` or the older `gen_ai.system`, `gen_ai.usage.*`,
messages (`otel_messages.py`), its start and end; thumbs are events `gen_ai.evaluation.result`.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from assay.example import canonical_json
from assay.release.imported.otel_messages import INPUT, OUTPUT, TOOLS, conversation, parts_of
from assay.release.imported.otlp import attribute, attributes
from assay.release.imported.raw import (
    TOO_LONG,
    Found,
    RawCall,
    TraceFormat,
    Unusable,
    count,
    iso,
    listing,
    loaded,
    mapping,
    number,
    text,
)
from assay.release.imported.trace import ImportedTrace
from assay.release.traces import MOST_BYTES, Thumb

log = logging.getLogger(__name__)
_ANSWERS = ("chat", "text_completion", "generate_content", "completion")
_FAILED = (2, "STATUS_CODE_ERROR")
_EVALUATION, _THUMB, _CORRECTED = "gen_ai.evaluation.result", "thumb", "assay.corrected"
_USD = "assay.cost_usd"
_LONGEST, _MOST_OPENED = 8 * MOST_BYTES, MOST_BYTES // 4
"""Characters of an attribute (JSON takes up to six for one), and objects and lists in it: it is not
parsed beyond."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPANS, _SCOPES = ("resourceSpans", "resource_spans"), ("scopeSpans", "scope_spans")


def matches(record: dict[str, Any]) -> bool:
    """A request to a collector: spans, or the logs and metrics that are sent beside them."""
    return any(name in record for name in (*_SPANS, "resourceLogs", "resourceMetrics"))


def read(record: dict[str, Any], path: Path) -> Iterator[Found]:
    """The calls among its spans."""
    if not any(name in record for name in _SPANS):
        if "gen_ai." in json.dumps(record.get("resourceLogs")):
            yield Unusable(
                "messages that were sent as logs cannot be joined to their spans; have the "
                "instrumentation put them on the span."
            )
        else:
            yield None
        return
    place = 0
    for resource in _listed(record, _SPANS):
        for scope in _listed(resource, _SCOPES):
            for span in listing(mapping(scope).get("spans")):
                place += 1
                try:
                    found = _call(mapping(span), f"span {place}")
                except Exception as error:  # a fault of ours must not cost the other spans
                    at = traceback.extract_tb(error.__traceback__)[-1]
                    # Without the error's words: they may be a user's.
                    log.error("a span: %s in %s:%s", type(error).__name__, at.filename, at.lineno)
                    found = Unusable("it could not be read; the log says why.", f"span {place}")
                yield found


def _listed(holder: Any, names: tuple[str, ...]) -> list[Any]:
    given = mapping(holder)
    return next((listing(given[name]) for name in names if name in given), [])


def _call(span: dict[str, Any], place: str) -> Found:
    own = attributes(span.get("attributes"))
    operation = own.get("gen_ai.operation.name", own.get("llm.request.type"))
    named = own.get("gen_ai.response.model") or own.get("gen_ai.request.model")
    if operation not in _ANSWERS and (operation is not None or not named):
        return None
    events = listing(span.get("events"))
    told = (attributes(mapping(one).get("attributes")) for one in events)
    texts = chain.from_iterable(given.values() for given in (own, *told))
    if any(isinstance(one, str) and _is_too_long(one) for one in texts):
        return Unusable(TOO_LONG, place)
    messages, answer, tools = conversation(own, events)
    if answer is None and mapping(span.get("status")).get("code") in _FAILED:
        return Unusable("the call failed, so there is no answer.", place)
    if messages is None or answer is None:
        return Unusable(
            "messages or answer are not on the span; most instrumentations need to be told to "
            "record them (OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT).",
            place,
        )
    start, end = count(span.get("startTimeUnixNano")), count(span.get("endTimeUnixNano"))
    ids = [(text(span.get(name)) or "").lower() for name in ("traceId", "spanId")]
    # A framework and the client below it tell of one call, each in a span: the answer's id is one.
    answered = text(own.get("gen_ai.response.id"))
    usage = {name.removeprefix("gen_ai.usage."): value for name, value in own.items()}
    return RawCall(
        messages=messages,
        answer=answer,
        place=place,
        key=f"{ids[0]} {answered or ids[1]}" if ids[0] and ids[1] else "",
        id=answered or ids[1],
        tools=tools,
        model=named,
        provider=own.get("gen_ai.provider.name", own.get("gen_ai.system")),
        prompt_tokens=usage.get("input_tokens", usage.get("prompt_tokens")),
        completion_tokens=usage.get("output_tokens", usage.get("completion_tokens")),
        cached_tokens=usage.get("cache_read.input_tokens"),
        usd=own.get(_USD),
        seconds=None if start is None or end is None else number((end - start) / 1e9),
        at=iso(_moment(start)),
        thumb=_thumb(events),
        corrected=own.get(_CORRECTED),
        finish=_ended(own),
    )


def _is_too_long(text: str) -> bool:
    return len(text) > _LONGEST or text.count("[") + text.count("{") > _MOST_OPENED


def _ended(own: dict[str, Any]) -> Any:
    """Why the first answer ended: as its message tells, else as the span does."""
    answers, reasons = own.get(OUTPUT), own.get("gen_ai.response.finish_reasons")
    for first in listing(loaded(answers))[:1]:
        if reason := mapping(first).get("finish_reason"):
            return reason
    return next(iter(listing(loaded(reasons))), None)


def _moment(nanoseconds: int | None) -> datetime | None:
    """A moment; 0 is none."""
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000) if nanoseconds else None
    except OverflowError:
        return None


def _thumb(events: list[Any]) -> Thumb | None:
    found: Thumb | None = None
    for one in map(mapping, events):
        if one.get("name") == _EVALUATION:
            given = attributes(one.get("attributes"))
            label = given.get("gen_ai.evaluation.score.label")
            if given.get("gen_ai.evaluation.name") == _THUMB and label in ("up", "down"):
                found = label
    return found


def write(trace: ImportedTrace) -> dict[str, Any]:
    """A trace as a request to a collector with one span; `read` finds the same trace in it.

    A span starts at 0 where the time is not known, and has no end where the seconds are not.
    """
    digest = hashlib.sha256((trace.id or canonical_json(trace.to_dict())).encode()).hexdigest()
    start = 0 if trace.at is None else _nanoseconds(datetime.fromisoformat(trace.at))
    known: dict[str, str | int | float | None] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.response.id": trace.id or None,
        "gen_ai.provider.name": trace.provider,
        "gen_ai.request.model": trace.model,
        "gen_ai.usage.input_tokens": trace.prompt_tokens,
        "gen_ai.usage.output_tokens": trace.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": trace.cached_tokens,
        INPUT: _as_text([parts_of(message) for message in trace.messages]),
        OUTPUT: _as_text([parts_of(trace.answer, _finish(trace))]),
        TOOLS: _as_text(list(trace.tools)) if trace.tools else None,
        _USD: None if trace.usd is None else float(trace.usd),
        _CORRECTED: trace.corrected,
    }
    span: dict[str, Any] = {
        "traceId": digest[:32],
        "spanId": digest[32:48],
        "name": f"chat {trace.model}" if trace.model else "chat",
        "kind": 3,  # a client's
        "startTimeUnixNano": str(start),
        "attributes": [attribute(key, one) for key, one in known.items() if one is not None],
    }
    if trace.seconds is not None:
        span["endTimeUnixNano"] = str(start + round(trace.seconds * 1e9))
    if trace.thumb is not None:
        said = {"gen_ai.evaluation.name": _THUMB, "gen_ai.evaluation.score.label": trace.thumb}
        given = [attribute(key, one) for key, one in said.items()]
        span["events"] = [{"name": _EVALUATION, "attributes": given}]
    service = {"attributes": [attribute("service.name", "assay")]}
    scopes = [{"scope": {"name": "assay"}, "spans": [span]}]
    return {"resourceSpans": [{"resource": service, "scopeSpans": scopes}]}


def _finish(trace: ImportedTrace) -> str:
    if trace.cut:
        return "length"
    return "tool_call" if trace.answer.tool_calls else "stop"


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


FORMAT = TraceFormat("otel", matches, read)
