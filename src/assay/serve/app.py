"""The app: every route of the API behind one gate."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.routing import Route

from assay.defaults import BATCH_REQUESTS, STORE_RESPONSES, StoreResponses
from assay.generate.stream import EnginePool
from assay.mcp.skill import is_installed
from assay.project.answer.gateway import Gateway
from assay.project.imported.receiving import TraceReceiver
from assay.project.workspace import Workspace
from assay.serve import (
    batches,
    chat,
    completions,
    conversations,
    embeddings,
    errors,
    eval_items,
    evals,
    files,
    fine_tuning,
    graders,
    keys,
    metrics,
    models,
    releases,
    responses,
    spans,
    stored_completions,
    stored_responses,
    traces,
    uploads,
    vector_stores,
)
from assay.serve.auth import REQUESTS_AT_ONCE, AccessMiddleware
from assay.serve.batch_requests import create_line_app
from assay.serve.batch_runner import BatchRunner
from assay.serve.mcp import PATH, McpApp
from assay.version import VERSION

log = logging.getLogger("assay.serve")


def create_app(
    workspace: Workspace,
    engines: EnginePool,
    *,
    at_once: int = REQUESTS_AT_ONCE,
    batch_requests: int = BATCH_REQUESTS,
    store_responses: StoreResponses = STORE_RESPONSES,
    trust_code: bool = False,
    beside: Callable[[str], bool] = lambda path: False,
) -> FastAPI:
    """The API over a folder.

    `request.app.state.workspace` and `.engines` are these arguments, `.gateway` opens answers.

    Args:
        at_once: requests of one key; one more is told to wait.
        batch_requests: of all batches together, at the same time; they are answered from the app's
            startup to its shutdown.
        store_responses: which are kept.
        trust_code: code of evals that admins have created is run, shut off from this machine.
        beside: whether a path is that of something else in this app, which guards itself.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        asked = (*answering, eval_items)
        lines = create_line_app(app.state, *(part.router for part in asked))
        counted: metrics.Metrics = app.state.metrics
        runner = BatchRunner(workspace, lines, lambda: counted.answering, batch_requests)
        running = asyncio.create_task(runner.run(), name="batches")
        async with nullcontext() if mcp is None else mcp.run():
            try:
                yield
            finally:
                await runner.stop()
                await running

    mcp = McpApp(workspace) if is_installed() else None
    answering = (chat, completions, responses, embeddings)
    app = FastAPI(
        title="Assay",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # Spans and metrics of requests; not the logs, in which texts of clients may stand.
        telemetry={"auto_configure": telemetry_wanted(), "logs": False},
    )
    app.state.workspace, app.state.engines = workspace, engines
    app.state.gateway = Gateway(workspace, engines)
    app.state.store_responses = store_responses
    app.state.trust_code = trust_code
    app.state.spans = spans.SpanQueue(TraceReceiver(workspace))
    errors.install(app)
    app.state.metrics = metrics.Metrics()
    stored = (stored_completions, stored_responses, conversations, files, uploads, vector_stores)
    ruling = (releases, traces, spans, keys)
    # Routes are tried in this order, and most requests are to be answered.
    queued = (fine_tuning, batches, evals, graders)
    for part in (*answering, metrics, models, *stored, *queued, *ruling):
        app.include_router(part.router)
    if mcp is not None:
        app.router.routes.append(Route(PATH, endpoint=mcp))
    app.add_middleware(AccessMiddleware, workspace=workspace, at_once=at_once, beside=beside)
    app.add_middleware(metrics.MetricsMiddleware, metrics=app.state.metrics, beside=beside)
    return app


def telemetry_wanted() -> bool:
    """Whether OpenTelemetry is configured by its standard variables and its exporter is there."""
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not any(os.environ.get(name) for name in names):
        return False
    try:
        there = find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        log.warning(
            "OpenTelemetry is configured, but its exporter is missing: "
            "pip install 'assay[telemetry]'."
        )
    return there
