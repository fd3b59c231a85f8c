"""`/healthz` and `/readyz`, which need no key, and `/metrics`, which Prometheus reads.

Names of models are told; texts never.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.accounts.keys import Caller
from assay.jobs.batches import Endpoint
from assay.project.answer.answering import Receipt
from assay.project.workspace import Workspace
from assay.serve.auth import RequiredScope
from assay.serve.errors import forbidden

router = APIRouter(tags=["health"])

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)


_ANSWERED = frozenset(get_args(Endpoint))


class Metrics:
    """Counters of one server.

    Attributes:
        answering: requests under way that ask a model; those of batches are none.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answering = 0
        self._requests = Counter(
            "assay_requests", "Requests by route and status.", ["route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "assay_request_seconds", "From a request to the end of its answer.", ["route"],
            registry=self.registry, buckets=_SECONDS,
        )  # fmt: skip
        self._running = Gauge(
            "assay_requests_running", "Requests under way.", registry=self.registry
        )
        self._first = Histogram(
            "assay_first_token_seconds", "From a request to its first token.", ["model"],
            registry=self.registry, buckets=_SECONDS,
        )  # fmt: skip
        self._tokens = Counter(
            "assay_tokens", "Tokens read (prompt; cached: the reused part) and "
            "written (completion; reasoning: the part that is not shown).",
            ["model", "kind"], registry=self.registry,
        )  # fmt: skip

    def count_begin(self) -> None:
        """Count a request that has begun."""
        self._running.inc()

    def count_end(self, route: str, status: int, seconds: float) -> None:
        """Count a request that has ended, and its seconds."""
        self._running.dec()
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def observe_first_token(self, model: str, seconds: float) -> None:
        """A model has begun to answer."""
        self._first.labels(model).observe(seconds)

    def count_tokens(self, model: str, receipt: Receipt) -> None:
        """A model has answered; what it does not count is left out."""
        for kind in ("prompt", "completion", "cached", "reasoning"):
            if (count := getattr(receipt, f"{kind}_tokens")) is not None:
                self._tokens.labels(model, kind).inc(count)


class MetricsMiddleware:
    """ASGI middleware: counts and times every request of the API."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, beside: Callable[[str], bool] = lambda path: False
    ) -> None:
        self.app, self.metrics, self.beside = app, metrics, beside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] != "http" or self.beside(scope["path"]):
            await self.app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        asks_model = scope["path"] in _ANSWERED
        self.metrics.answering += asks_model
        self.metrics.count_begin()
        try:
            await self.app(scope, receive, note)
        finally:
            # The route as it is declared: ids in paths must not make a series each.
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.answering -= asks_model
            self.metrics.count_end(route, status, time.perf_counter() - started)


@router.get("/healthz")
async def healthz() -> dict[str, Any]:
    """Answer 200 as long as the process runs."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> dict[str, Any]:
    """Answer 200 if the server can answer requests: its database can be read.

    `configuration` is `last_good` if assay.yaml was invalid at the start; the log says why.
    """
    workspace = request.app.state.workspace
    workspace.store.setting("")  # there is none: what counts is that it was looked up
    configuration = "current" if workspace.broken is None else "last_good"
    return {"status": "ready", "configuration": configuration}


@router.get("/metrics")
def metrics(
    request: Request, caller: Annotated[Caller, Depends(RequiredScope("admin"))]
) -> Response:
    """The metrics of all projects in Prometheus' text format, for the folder's own project."""
    workspace: Workspace = request.app.state.workspace
    if caller.project != workspace.name:
        raise forbidden(
            "Metrics cover the whole server; they need an admin key of the folder's own project."
        )
    kept: Metrics = request.app.state.metrics
    return Response(generate_latest(kept.registry), media_type=CONTENT_TYPE_LATEST)
