"""Bodies that carry a file: multipart/form-data, the file on disk while it comes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import IO, Any

import anyio.to_thread
from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from assay.accounts.keys import Caller
from assay.accounts.quota import Quota
from assay.serve.auth import UPLOAD_BYTES
from assay.serve.errors import invalid

LONGEST_FILENAME = 255
LIFETIMES_S = (3600, 2_592_000)
"""The shortest and the longest `expires_after.seconds`."""
_CHUNK = 1 << 20
_FIELDS = 10


def describe_form(file: str, required: Sequence[str], **others: Any) -> dict[str, Any]:
    """What OpenAPI says of a route that takes a form: its file, and the schemas of others."""
    fields = {file: {"type": "string", "format": "binary"}, **others}
    schema = {"type": "object", "required": list(required), "properties": fields}
    body = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    return {"requestBody": body}


@asynccontextmanager
async def read_form(
    request: Request, file: str, caller: Caller
) -> AsyncIterator[tuple[FormData, UploadFile]]:
    """The fields of a form and the file in its field `file`, for which the project has room.

    Raises:
        ApiError: there is no form, or no such file in it.
        QuotaError: the project may not have so many bytes.
    """
    missing = invalid(
        f"Missing required parameter: '{file}'. Send the bytes as multipart/form-data.",
        file,
        "missing_required_parameter",
    )
    # Of any other form all fields would be held in memory.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise missing
    quota: Quota = request.app.state.workspace.quota
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() else UPLOAD_BYTES
    await anyio.to_thread.run_sync(quota.take, caller.project, size)  # before anything is read
    try:
        async with request.form(max_files=1, max_fields=_FIELDS) as fields:
            found = fields.get(file)
            if not isinstance(found, UploadFile):
                raise missing
            yield fields, found
    finally:
        quota.give_back(caller.project, size)


def read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file, piece by piece."""
    while chunk := file.read(_CHUNK):
        yield chunk


def read_text(fields: FormData, name: str) -> str | None:
    """A field that is text, or None where there is none."""
    value = fields.get(name)
    return value if isinstance(value, str) else None


def check_filename(name: str | None) -> str:
    """The name of a file, found fit to be kept: of a path its last part, for who saves it under
    its name must not be led elsewhere.

    Raises:
        ApiError: it is empty, too long, or has characters that cannot be shown.
    """
    name = re.split(r"[/\\]", name or "")[-1]
    if name in ("", ".", "..") or len(name) > LONGEST_FILENAME or not name.isprintable():
        raise invalid(
            f"A file must have a name of 1 to {LONGEST_FILENAME} printable characters.", "filename"
        )
    return name


def parse_lifetime(expires_after: Mapping[str, Any] | None) -> int | None:
    """Seconds after which a file expires; None: never.

    Raises:
        ApiError: it is not `{"anchor": "created_at", "seconds": 3600 to 2592000}`.
    """
    if not expires_after:
        return None
    try:
        seconds = int(expires_after["seconds"])
    except (KeyError, ValueError, TypeError, OverflowError):
        seconds = 0
    least, most = LIFETIMES_S
    if expires_after.get("anchor") != "created_at" or not least <= seconds <= most:
        raise invalid(
            f"expires_after needs the anchor 'created_at' and {least} to {most} seconds.",
            "expires_after",
        )
    return seconds
