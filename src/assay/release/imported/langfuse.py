"""`langfuse`: exports of Langfuse, JSON or JSON Lines: observations, pages of its API
(`{"data": [...]}`), or traces with their `observations`.

Of an observation of type GENERATION: `id`, `input`, `output`, `model` (or `providedModelName`),
`modelParameters`, `usageDetails` or the older `usage`, `costDetails` or `calculatedTotalCost`,
`startTime`, `endTime`, `level`; thumbs are the scores named `user-feedback` (1 up; 0 and -1 down).
https://langfuse.com/docs/api-and-data-platform/features/export-from-ui
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.release.imported.raw import (
    Found,
    RawCall,
    TraceFormat,
    Unusable,
    answered,
    asked,
    between,
    finish_of,
    iso,
    listing,
    loaded,
    mapping,
    text,
    time,
)
from assay.release.traces import Thumb

_TYPES = (
    *("GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR"),
    *("EMBEDDING", "GUARDRAIL"),
)
_FEEDBACK = ("user-feedback", "user_feedback", "thumb", "thumbs")
_THUMBS: dict[float, Thumb] = {1: "up", 0: "down", -1: "down"}
_INPUT = ("input", "prompt", "input_tokens", "promptTokens")
_OUTPUT = ("output", "completion", "output_tokens", "completionTokens")


def matches(record: dict[str, Any]) -> bool:
    """An observation, a page of them, or a trace that has some."""
    if "data" in record or "observations" in record:
        held = record.get("data", record.get("observations"))
        first = held[0] if isinstance(held, list) and held else None
        return isinstance(first, dict) and matches(first)
    return record.get("type") in _TYPES and ("traceId" in record or "startTime" in record)


def read(record: dict[str, Any], path: Path) -> Iterator[Found]:
    """The generations among its observations."""
    if "data" not in record and "observations" not in record:
        yield _call(record, "", [])
        return
    for number, one in enumerate(listing(record.get("data", record.get("observations"))), start=1):
        place = f"observation {number}"
        if not isinstance(one, dict):
            yield Unusable("the observation is no object.", place)
        elif "observations" in one or "data" in one:
            yield from read(one, path)
        else:
            yield _call(one, place, listing(record.get("scores")))


def _call(one: dict[str, Any], place: str, scores: list[Any]) -> Found:
    if one.get("type") != "GENERATION":
        return None
    if one.get("level") == "ERROR":
        return Unusable("the call failed, so there is no answer.", place)
    said, output = loaded(one.get("input")), one.get("output")
    parameters = mapping(loaded(one.get("modelParameters")))
    offered = parameters.get("tools")
    if isinstance(said, dict) and "messages" in said:
        offered, said = said.get("tools", offered), said["messages"]
    if not said or output is None:
        return Unusable("it has no input or no output.", place)
    usage = mapping(loaded(one.get("usageDetails"))) or mapping(loaded(one.get("usage"))) or one
    costs = mapping(loaded(one.get("costDetails")))
    start, end = time(one.get("startTime")), time(one.get("endTime"))
    usd = costs.get("total", one.get("calculatedTotalCost", one.get("totalCost")))
    shaped = loaded(output)
    return RawCall(
        messages=asked(said),
        answer=answered(shaped if _is_turn(shaped) else output),
        place=place,
        finish=finish_of(shaped),
        key=text(one.get("id")) or "",
        id=one.get("id"),
        tools=offered,
        model=one.get("model") or one.get("providedModelName"),
        prompt_tokens=_first(usage, _INPUT),
        completion_tokens=_first(usage, _OUTPUT),
        cached_tokens=usage.get("input_cached_tokens", usage.get("cache_read_input_tokens")),
        usd=usd or None,  # it writes 0 where it knows no price
        seconds=between(start, end),
        at=iso(start),
        thumb=_thumb([*listing(one.get("scores")), *scores], one.get("id")),
    )


def _is_turn(value: Any) -> bool:
    """Whether a JSON text was an answer's turn; else the text itself is the answer."""
    first = value[0] if isinstance(value, list) and len(value) == 1 else value
    return isinstance(first, dict) and ("role" in first or "choices" in first)


def _first(usage: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((usage[name] for name in names if usage.get(name) is not None), None)


def _thumb(scores: list[Any], id: Any) -> Thumb | None:
    """The last thumb that is this observation's, or its trace's."""
    found: Thumb | None = None
    for one in map(mapping, scores):
        if one.get("name") in _FEEDBACK and one.get("observationId") in (None, id):
            value = one.get("value")
            if isinstance(value, int | float):
                found = _THUMBS.get(float(value), found)
    return found


FORMAT = TraceFormat("langfuse", matches, read)
