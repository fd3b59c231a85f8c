"""`POST /v1/traces`: takes OpenTelemetry's GenAI spans, as a collector does (OTLP/HTTP).

What is sent is redacted, and added to the folder that `assay traces jobs` reads. The key is looked
at first; then the body is read, and bounded before it is looked at (`serve.otlp`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from assay.accounts.keys import Caller
from assay.errors import StateError, StoreError, UsageError
from assay.project.imported.receiving import TraceReceiver
from assay.serve import otlp
from assay.serve.auth import RequiredScope
from assay.serve.errors import ApiError, of_any

log = logging.getLogger("assay.serve")
router = APIRouter(tags=["traces"])

WAITING = 16
"""Requests that wait while one is worked on; one more is told to come again."""
_Sender = Annotated[Caller, Depends(RequiredScope("spans"))]


class SpanQueue:
    """Requests to export spans, worked on one at a time in a thread of its own."""

    def __init__(self, receiver: TraceReceiver) -> None:
        self._receiver, self._waiting = receiver, 0
        self._thread = ThreadPoolExecutor(1, "assay-spans")

    def check(self) -> None:
        """See that there is room for one more (ApiError: there is none)."""
        if self._waiting > WAITING:
            raise _busy("Other spans are being added.")

    async def add(self, body: bytes, encoding: otlp.Encoding, packed: str | None) -> bytes:
        """Add the spans of a body; returns the answer.

        Raises:
            ApiError: they cannot be added.
        """
        self.check()
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._add, body, encoding, packed)
        finally:
            self._waiting -= 1

    def _add(self, body: bytes, encoding: otlp.Encoding, packed: str | None) -> bytes:
        record = otlp.decode(body, encoding, packed)
        try:
            report = self._receiver.add(record, len(body))
        except StateError as error:  # `assay traces import` runs; where is for the server's owner
            raise _busy(error.what) from None
        except (StoreError, UsageError) as error:  # the folder is damaged, or another's
            log.error("%s", error)
            what = "Spans cannot be added at the moment; the server's log says why."
            raise ApiError(503, what, "server_error", "server_error") from None
        if report.is_cut:
            raise _busy("The rest of these spans is added when they are sent again.")
        reasons = Counter(report.reasons).most_common(3)
        told = " ".join(f"{count}: {reason}" for reason, count in reasons)
        return otlp.answer(encoding, len(report.reasons), told)


def _busy(what: str) -> ApiError:
    return ApiError(503, what, "server_error", "server_busy", headers={"Retry-After": "2"})


@router.post("/v1/traces")
async def export(request: Request, caller: _Sender) -> Response:
    """Take OpenTelemetry spans (OTLP/HTTP: JSON or protobuf, plain or gzip); calls of models among
    them become imported traces."""
    encoding: otlp.Encoding = "application/json"
    try:
        encoding = otlp.encoding_of(request.headers.get("content-type"))
        queue: SpanQueue = request.app.state.spans
        if caller.project != request.app.state.workspace.name:
            raise ApiError(404, "There is no project of this key here.", code="not_found")
        queue.check()
        body = await request.body()
        answer = await queue.add(body, encoding, request.headers.get("content-encoding"))
    except ClientDisconnect:
        raise ApiError(400, "The client has disconnected.") from None
    except HTTPException as error:  # the body is too large
        return _refuse(encoding, ApiError(error.status_code, str(error.detail)))
    except Exception as error:
        return _refuse(encoding, of_any(error))
    return Response(answer, media_type=encoding)


def _refuse(encoding: otlp.Encoding, error: ApiError) -> Response:
    body = otlp.refusal(encoding, error.status, error.message)
    return Response(body, error.status, error.headers, encoding)
