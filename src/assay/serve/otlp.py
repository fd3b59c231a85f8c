"""Bodies of OTLP/HTTP: bounded first, then a request to export spans as OTLP/JSON has it.

Nothing is unpacked beyond `MOST_BYTES`, and what a body holds is counted before there are objects:
an empty span takes two bytes in protobuf and some hundred as an object. `serve.spans` calls this in
a thread, one body at a time. https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from email.message import Message
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import from_json

from assay.serve.body import check_shape, says_json
from assay.serve.errors import ApiError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

MOST_BYTES = 16 * 2**20
"""Of a body once it is unpacked; packed it has no more than any other (`auth.BODY_BYTES`)."""
MOST_VALUES, MOST_OBJECTS = 300_000, 60_000
"""A batch of 512 spans, as SDKs send them, with 50 attributes each passes."""
MOST_DEPTH = 64
"""Messages of protobuf in each other."""
JSON, PROTOBUF = "application/json", "application/x-protobuf"
Encoding = Literal["application/json", "application/x-protobuf"]
_GZIP = 16 + zlib.MAX_WBITS
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 413: 8, 415: 3, 429: 8, 503: 14}
"""Of `google.rpc.Code`, by HTTP status; every other is 13, internal."""

Fields = dict[int, "Fields | None"]
"""Of a message, by number: the fields of the message that it holds, None: it holds a value."""


def encoding_of(content_type: str | None) -> Encoding:
    """How a body is spelled, and its answer is to be.

    Raises:
        ApiError: it is neither JSON nor protobuf, or protobuf cannot be read here.
    """
    if says_json(content_type):
        return "application/json"
    header = Message()
    header["content-type"] = content_type or ""
    if header.get_content_type() not in (PROTOBUF, "application/protobuf"):
        raise ApiError(415, f"Send spans as {JSON} or {PROTOBUF}.", code="unsupported_media_type")
    try:
        import opentelemetry.proto.collector.trace.v1.trace_service_pb2 as _  # noqa: F401
    except ImportError:
        raise ApiError(
            415,
            "This server cannot read protobuf. Install what it needs there, pip install "
            f"'assay[telemetry]', and restart it; or send {JSON} (in a collector: exporter "
            "otlphttp, encoding: json).",
            code="unsupported_media_type",
        ) from None
    return "application/x-protobuf"


def decode(body: bytes, encoding: Encoding, packed: str | None) -> dict[str, Any]:
    """A request to export spans, as OTLP/JSON has it.

    Args:
        packed: the header Content-Encoding.

    Raises:
        ApiError: it is no such request, or takes too much.
    """
    if packed and packed.strip().lower() != "identity":
        body = _unpack(body, packed.strip().lower())
    if len(body) > MOST_BYTES:
        raise _too_large(f"more than {MOST_BYTES // 2**20} MB")
    return _of_protobuf(body) if encoding == PROTOBUF else _of_json(body)


def answer(encoding: Encoding, rejected: int, message: str) -> bytes:
    """What a sender is told: nothing, or how many spans were rejected and why."""
    if encoding == JSON:
        partial = {"rejectedSpans": str(rejected), "errorMessage": message}  # 64 bits are text
        return json.dumps({"partialSuccess": partial} if rejected else {}).encode()
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

    made = service.ExportTraceServiceResponse()
    if rejected:
        made.partial_success.rejected_spans = rejected
        made.partial_success.error_message = message
    return bytes(made.SerializeToString())


def refusal(encoding: Encoding, status: int, message: str) -> bytes:
    """A `google.rpc.Status`, which the body of every other answer is."""
    code = _CODES.get(status, 13)
    if encoding == JSON:
        return json.dumps({"code": code, "message": message}).encode()
    from google.rpc import status_pb2

    return bytes(status_pb2.Status(code=code, message=message).SerializeToString())


def _unpack(body: bytes, packed: str) -> bytes:
    if packed != "gzip":
        raise ApiError(
            415, "Pack the body with gzip, or not at all.", code="unsupported_media_type"
        )
    unpacking = zlib.decompressobj(_GZIP)
    try:
        whole = unpacking.decompress(body, MOST_BYTES + 1)
    except zlib.error:
        raise ApiError(400, "The body is not gzip.") from None
    if len(whole) > MOST_BYTES:
        raise _too_large(f"more than {MOST_BYTES // 2**20} MB once it is unpacked")
    if not unpacking.eof or unpacking.unused_data:
        raise ApiError(400, "The body is cut off, or is more than one file of gzip.")
    return whole


def _of_json(body: bytes) -> dict[str, Any]:
    check_shape(body, MOST_VALUES, MOST_OBJECTS)
    try:
        found = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"The body is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise ApiError(400, "The body is no request to export spans: it is no object.")
    if found and not {"resourceSpans", "resource_spans"} & found.keys():
        raise ApiError(400, "The body is no request to export spans: it has no resourceSpans.")
    return found


def _of_protobuf(body: bytes) -> dict[str, Any]:
    from google.protobuf.json_format import Error, MessageToDict
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

    kind = service.ExportTraceServiceRequest
    check_wire(body, fields_of(kind.DESCRIPTOR))
    try:
        found: dict[str, Any] = MessageToDict(kind.FromString(body))
    except (DecodeError, Error, ValueError, RecursionError):
        raise ApiError(400, "The body is no request to export spans in protobuf.") from None
    for resource in found.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                for name in ("traceId", "spanId"):  # OTLP/JSON has these in hex
                    span[name] = b64decode(span.get(name, "")).hex()
    return found


def check_wire(body: bytes, fields: Fields) -> None:
    """Refuse protobuf that would take too much as objects; nothing of it is made.

    Raises:
        ApiError: it has too many values or messages, is too deep, or is no protobuf.
    """
    values = messages = at = 0
    inside: list[tuple[int, Fields]] = [(len(body), fields)]
    try:
        while inside:
            end, known = inside[-1]
            if at >= end:
                if at > end:
                    raise ValueError
                inside.pop()
                continue
            values += 1
            tag, at = _varint(body, at)
            kind = tag & 7
            if kind == _VARINT:
                _, at = _varint(body, at)
            elif kind == _LENGTH:
                size, at = _varint(body, at)
                if at + size > end:
                    raise ValueError
                within = known.get(tag >> 3)
                if within is None:
                    at += size
                else:
                    messages += 1
                    inside.append((at + size, within))
            elif kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            else:
                raise ValueError
            if values > MOST_VALUES:
                raise _too_large(f"more than {MOST_VALUES:,} values")
            if messages > MOST_OBJECTS:
                raise _too_large(f"more than {MOST_OBJECTS:,} messages")
            if len(inside) > MOST_DEPTH:
                raise ApiError(400, f"The body is nested more than {MOST_DEPTH} deep.")
    except (ValueError, IndexError):
        raise ApiError(400, "The body is no protobuf.") from None


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """A number, and where what follows it begins."""
    found = body[at]
    if found < 128:
        return found, at + 1
    found &= 127
    for count in range(1, 10):
        one = body[at + count]
        found |= (one & 127) << (7 * count)
        if one < 128:
            return found, at + count + 1
    raise ValueError


@cache
def fields_of(kind: Descriptor) -> Fields:
    """The fields of a message; one that may hold itself is there once."""
    return _fields(kind, {})


def _fields(kind: Descriptor, known: dict[str, Fields]) -> Fields:
    if kind.full_name not in known:
        found: Fields = {}
        known[kind.full_name] = found
        for number, field in kind.fields_by_number.items():
            found[number] = _fields(field.message_type, known) if field.message_type else None
    return known[kind.full_name]


def _too_large(what: str) -> ApiError:
    return ApiError(413, f"The body has {what}.", code="request_too_large")
