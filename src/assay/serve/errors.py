"""Everything that goes wrong, as OpenAI's error object. Bad input is never a 500."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.accounts.costs import BudgetError
from assay.accounts.quota import QuotaError
from assay.agent.answering import EffortError
from assay.agent.consent import ConsentError
from assay.errors import (
    AssayError,
    ConfigError,
    DataError,
    ModelError,
    NotFoundError,
    ObjectsError,
    StateError,
    StoreError,
    UsageError,
    is_full,
)
from assay.evaluate.parity import ParityError
from assay.generate.stream import BusyError, PromptTooLongError, RequestRefusedError
from assay.jobs.batches import BatchStateError
from assay.project.answer.names import UnknownModelError
from assay.project.jobs.requests import RefusedError
from assay.project.releases.correction_check import CorrectionError
from assay.release.evidence import UnprovenError
from assay.release.releases import ReleaseError
from assay.store.conversations import NoRoomError, TooLongError

_FIELD = re.compile(r"(?!(?:str|int|float|bool|dict|list)$)[a-z][a-z0-9_]*")
"""Names of fields; pydantic puts names of types between them."""
MOST_CHARACTERS = 2000
"""Of a message: what a client has sent, such as a name, may stand in it."""
LONGEST_PARAM = 200
_UNANSWERED = "No response returned."
log = logging.getLogger("assay.serve")
_CLIENTS: tuple[tuple[type[AssayError], int, str, str | None], ...] = (
    (QuotaError, 413, "storage_quota_exceeded", None),
    (NoRoomError, 413, "storage_quota_exceeded", None),
    (TooLongError, 413, "conversation_too_long", None),
    (UnknownModelError, 404, "model_not_found", "model"),
    (NotFoundError, 404, "not_found", None),
    (BatchStateError, 409, "invalid_state", None),
    (StateError, 400, "invalid_state", None),
    (UnprovenError, 409, "not_proven", None),
    (ParityError, 409, "parity_refused", None),
    (ReleaseError, 409, "invalid_state", None),
    (PromptTooLongError, 400, "context_length_exceeded", "messages"),
    (RequestRefusedError, 400, "request_refused", None),
    (CorrectionError, 400, "invalid_value", "corrected"),
    (EffortError, 400, "unsupported_parameter", "reasoning_effort"),
)
"""Errors that a client can mend, with status, code and field; the first that fits counts."""
_MISSING = frozenset({"file_not_found", "model_not_found"})
"""Codes of refusals that are a 404."""


class ApiError(Exception):
    """An answer other than success.

    Args:
        type: OpenAI's word for the kind of error.
        code: what programs look at.
        param: the field of the request that is to blame.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        message = _cut(message, MOST_CHARACTERS)
        super().__init__(message)
        self.status, self.message, self.type = status, message, type
        self.code, self.headers = code, dict(headers or {})
        self.param = None if param is None else _cut(param, LONGEST_PARAM)

    def body(self) -> dict[str, Any]:
        """The error object of OpenAI's API."""
        told = {name: getattr(self, name) for name in ("message", "type", "param", "code")}
        return {"error": told}

    def response(self) -> JSONResponse:
        """The HTTP response that says so."""
        return JSONResponse(self.body(), self.status, self.headers)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def not_found(what: str, id: str, param: str | None = None) -> ApiError:
    """A 404: there is none, or it belongs to somebody else. Nobody can tell which."""
    return ApiError(404, f"No such {what}: {id}", code="not_found", param=param)


def invalid(message: str, param: str, code: str = "invalid_value") -> ApiError:
    """A 400: a field of the request that cannot be followed."""
    return ApiError(400, message, code=code, param=param)


def forbidden(message: str) -> ApiError:
    """A 403: the caller's key does not allow it."""
    return ApiError(403, message, "permission_error", "insufficient_permissions")


def of_assay(error: AssayError) -> ApiError:
    """What our own errors are to a client."""
    message = str(error)
    if isinstance(error, BusyError):
        wait = {"Retry-After": str(max(1, round(error.retry_after_s)))}
        return ApiError(429, message, "rate_limit_error", "rate_limit_exceeded", headers=wait)
    if isinstance(error, BudgetError):
        soon = {"Retry-After": "1"} if error.is_passing else None
        return ApiError(429, message, "insufficient_quota", "insufficient_quota", headers=soon)
    if isinstance(error, RefusedError):
        if error.code == "insufficient_permissions":
            return forbidden(message)
        status = 404 if error.code in _MISSING else 400
        return ApiError(status, message, code=error.code, param=error.param)
    for kind, status, code, param in _CLIENTS:
        if isinstance(error, kind):
            return ApiError(status, message, code=code, param=param)
    if isinstance(error, ConsentError):
        log.error("%s", error)  # what is agreed to, and where that goes, is not for clients
        what = f"The provider {error.provider} cannot be used with its current settings."
        return ApiError(503, what, "server_error", "model_unavailable", "model")
    if isinstance(error, ModelError):
        # Which file it is and what to do about it is for whoever runs the server.
        log.error("%s", error)
        return ApiError(503, error.what, "server_error", "model_unavailable", "model")
    if isinstance(error, (ConfigError, DataError, UsageError)):
        return ApiError(400, message, code="invalid_value")
    log.error("%s", error)
    if isinstance(error, ObjectsError):
        what = "Stored files and models cannot be fetched or written at the moment."
        return ApiError(503, what, "server_error", "files_unavailable")
    if isinstance(error, StoreError):  # where it is, is for whoever runs the server
        return ApiError(503, "The database cannot be reached.", "server_error", "state_unavailable")
    return ApiError(503, error.what, "server_error", "server_error")


def of_any(error: Exception) -> ApiError:
    """Ours as it is; anything else is a fault of the server, whose insides stay inside."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, AssayError):
        return of_assay(error)
    if is_full(error):
        return of_assay(StoreError(f"the disk is full ({error})."))
    log.error("an unexpected error", exc_info=error)
    return ApiError(500, "The server had an error; see its log.", "server_error", "server_error")


def install(app: FastAPI) -> None:
    """Make an app answer every error so."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        return of_any(error).response()

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _of_validation(error.errors()).response()

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _of_http(request, error).response()

    app.add_exception_handler(ApiError, known)
    app.add_exception_handler(AssayError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_middleware(UnexpectedErrorMiddleware)


class UnexpectedErrorMiddleware:
    """ASGI middleware: answers what nobody expected.

    Starlette's own handler would raise it again, and the server then drop the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        started = False

        async def note(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, note)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            if str(error) == _UNANSWERED and await _is_gone(receive):
                return  # Starlette's middleware says so of a browser that left in the middle
            await of_any(error).response()(scope, receive, send)


async def _is_gone(receive: Receive) -> bool:
    """Whether the client has closed the connection, behind whatever of its body was not read."""
    with anyio.CancelScope() as scope:
        scope.cancel()  # nothing is waited for
        while (await receive())["type"] != "http.disconnect":
            pass
        return True
    return False


def param_of(place: Sequence[str | int]) -> str:
    """`("messages", 0, "content")` as clients know it: `messages[0].content`."""
    name = ""
    for part in place:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else part
    return name


def _of_validation(problems: Sequence[Any]) -> ApiError:
    """The deepest problem: of the forms that a field may have, the one that was meant."""
    problem = max(problems, key=lambda p: (len(p["loc"]), p["type"] != "missing"))
    place = [part for part in problem["loc"] if isinstance(part, int) or _FIELD.fullmatch(part)]
    kind = problem["type"]
    if kind == "json_invalid":
        return ApiError(400, f"The body is not JSON: {problem['ctx']['error']}.")
    if place == ["body"]:
        return ApiError(400, "The body must be a JSON object.")
    param = _cut(param_of(place[1:]), LONGEST_PARAM)
    if kind == "extra_forbidden":
        return invalid(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
    if kind == "none_required":
        message = f"Unsupported parameter: '{param}' is not supported here."
        return ApiError(400, message, code="unsupported_parameter", param=param)
    if kind == "missing":
        return invalid(
            f"Missing required parameter: '{param}'.", param, "missing_required_parameter"
        )
    message = str(problem["msg"]).removeprefix("Value error, ")
    return invalid(f"Invalid value for '{param}': {message}.", param)


def _of_http(request: Request, error: HTTPException) -> ApiError:
    if error.status_code == 404:
        message = f"Unknown request URL: {request.method} {request.url.path}."
        return ApiError(404, message, code="unknown_url")
    if error.status_code == 405:
        message = f"{request.url.path} does not support the method {request.method}."
        return ApiError(405, message, code="method_not_allowed", headers=error.headers)
    if error.status_code == 413:
        return ApiError(413, str(error.detail), code="request_too_large")
    return ApiError(error.status_code, str(error.detail), headers=error.headers)
