"""Values of OTLP/JSON, the wire form of OpenTelemetry: attributes, and what they hold.

An attribute is `{"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}}`.
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

from typing import Any

from assay.release.imported.raw import count, listing, mapping

_PLAIN = ("stringValue", "boolValue", "doubleValue")


def attributes(raw: Any) -> dict[str, Any]:
    """The attributes of a span or an event by their names; a plain object is one already."""
    if isinstance(raw, dict):
        return raw
    return {
        one["key"]: value_of(one.get("value"))
        for one in map(mapping, listing(raw))
        if isinstance(one.get("key"), str)
    }


def value_of(raw: Any) -> Any:
    """The value that an `AnyValue` holds; None where it holds none that is JSON."""
    given = mapping(raw)
    if "intValue" in given:
        return count(given["intValue"])
    if "arrayValue" in given:
        return [value_of(one) for one in listing(mapping(given["arrayValue"]).get("values"))]
    if "kvlistValue" in given:
        return attributes(mapping(given["kvlistValue"]).get("values", []))
    return next((given[name] for name in _PLAIN if name in given), None)


def attribute(key: str, value: str | int | float) -> dict[str, Any]:
    """The attribute of a name and a value."""
    if isinstance(value, str):
        return {"key": key, "value": {"stringValue": value}}
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}  # 64 bits are text in OTLP/JSON
    return {"key": key, "value": {"doubleValue": value}}
