"""What nobody expected: an answer to who waits for one, and no alarm where nobody does."""

from __future__ import annotations

import asyncio
import logging

import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from assay.serve.errors import UnexpectedErrorMiddleware

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def _pass(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def _answers(app: object, *, leaves: bool) -> list[Message]:
    """What is sent to a client that leaves at once, or waits."""
    sent: list[Message] = []

    async def run() -> None:
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if not leaves:
                await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await UnexpectedErrorMiddleware(app)({**SCOPE}, receive, send)  # type: ignore[arg-type]

    asyncio.run(asyncio.wait_for(run(), 10))
    return sent


async def _says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def _breaks(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("the insides")


def test_a_client_that_left_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "assay.serve"):
        assert not _answers(BaseHTTPMiddleware(_says_nothing, _pass), leaves=True)
    assert not caplog.records


@pytest.mark.parametrize("app", [BaseHTTPMiddleware(_says_nothing, _pass), _breaks])
def test_who_waits_is_told_without_insides(app: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "assay.serve"):
        sent = _answers(app, leaves=False)
    assert sent[0]["status"] == 500
    assert b"the insides" not in sent[1]["body"]
    assert caplog.records[0].exc_info


def test_a_fault_is_logged_though_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "assay.serve"):
        _answers(_breaks, leaves=True)
    assert len(caplog.records) == 1
