"""The one way from the bytes of a JSON body to a request: counted first, parsed after.

A body of a few megabytes can spell millions of values, each of which takes fifty times its bytes as
an object of Python, and one of Pydantic's errors takes a thousand times. Hence, in this order: the
bytes are limited (`auth.AccessMiddleware`); values, objects and depth are counted in the bytes,
before there are objects; what is large is parsed off the event loop, one body at a time; every list
and mapping of a request has a limit and stops at its first error
(`tests/attacks/test_one_request.py` walks all of them); and an error tells few problems, without
what was sent.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from assay import json_reader
from assay.serve.errors import ApiError

MOST_VALUES = 150_000
"""Values and keys: a prompt of 131,072 token ids passes."""
MOST_OBJECTS = 20_000
"""Of those, objects, which take most."""
INLINE_BYTES = 32 * 1024
"""A larger body takes longer to parse than to hand to a thread."""
_MOST_PROBLEMS = 20
"""Problems of one body that are looked at to tell the one that was meant."""
_one_at_a_time = ThreadPoolExecutor(1, "assay-parse")


def check_shape(
    body: bytes, most_values: int = MOST_VALUES, most_objects: int = MOST_OBJECTS
) -> None:
    """Refuse JSON that would take too much as objects. What is no JSON may pass.

    Raises:
        ApiError: it has too many values or objects, or is too deep.
    """
    opened = body.count(b"[") + body.count(b"{")
    values = opened + body.count(b",") + body.count(b":")
    if values > most_values or body.count(b"{") > most_objects or opened > json_reader.MOST_DEPTH:
        _check_marks(body, most_values, most_objects)


def _check_marks(body: bytes, most_values: int, most_objects: int) -> None:
    """`check_shape`, without what stands in strings."""
    signs = json_reader.signs(body)
    if signs.count(b'"') > 2 * most_values:
        raise _too_large(f"more than {most_values:,} values")
    outside = json_reader.outside(signs)
    if len(outside) - outside.count(b"]") - outside.count(b"}") > most_values:
        raise _too_large(f"more than {most_values:,} values")
    if outside.count(b"{") > most_objects:
        raise _too_large(f"more than {most_objects:,} objects")
    if json_reader.depth(outside) > json_reader.MOST_DEPTH:
        raise ApiError(
            400, f"The body is not JSON: it is nested more than {json_reader.MOST_DEPTH} deep."
        )


def parse(body: bytes, kind: TypeAdapter[Any], most_values: int = MOST_VALUES) -> Any:
    """A body as what its route takes: standard JSON, without NaN and half characters.

    Raises:
        ApiError: it takes too much.
        RequestValidationError: it is no JSON, or not what the route takes.
    """
    check_shape(body, most_values)
    try:
        return kind.validate_python(from_json(body, allow_inf_nan=False))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**problem, "loc": ("body", *problem["loc"])} for problem in problems[:_MOST_PROBLEMS]]
        ) from None
    except ValueError as error:
        raise RequestValidationError(
            [{"type": "json_invalid", "loc": ("body",), "msg": "", "ctx": {"error": str(error)}}]
        ) from None


async def read(request: Request, kind: TypeAdapter[Any], most_values: int) -> Any:
    """The parsed body of a request; None where there is none, or it does not say that it is JSON.

    Raises:
        ApiError, RequestValidationError: as `parse`.
    """
    try:
        body = await request.body()
    except ClientDisconnect:
        raise ApiError(400, "The client has disconnected.") from None
    if not body or not says_json(request.headers.get("content-type")):
        return None
    if len(body) <= INLINE_BYTES:
        return parse(body, kind, most_values)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_one_at_a_time, parse, body, kind, most_values)


def says_json(content_type: str | None) -> bool:
    """Whether a header says that a body is JSON."""
    header = Message()
    header["content-type"] = content_type or ""
    subtype = header.get_content_subtype()
    is_json = subtype == "json" or subtype.endswith("+json")
    return header.get_content_maintype() == "application" and is_json


def _too_large(what: str) -> ApiError:
    return ApiError(413, f"The body has {what}.", code="request_too_large")
