"""The app: every route of the API behind one gate."""

from __future__ import annotations

from fastapi import FastAPI

from assay import __version__
from assay.generate.serving import ServingEngines
from assay.project.workspace import Workspace
from assay.serve import (
    chat,
    completions,
    embeddings,
    errors,
    files,
    fine_tuning,
    graders,
    health,
    metrics,
    models,
    uploads,
)
from assay.serve.auth import Gate


def create_app(workspace: Workspace, engines: ServingEngines) -> FastAPI:
    """The API over a folder.

    `request.app.state.workspace` and `.engines` are these arguments.
    """
    app = FastAPI(title="Assay", version=__version__, docs_url=None, redoc_url=None)
    app.state.workspace, app.state.engines = workspace, engines
    errors.install(app)
    app.state.metrics = metrics.Metrics()
    answering = (health, metrics, models, chat, completions, embeddings)
    for part in (*answering, files, uploads, fine_tuning, graders):
        app.include_router(part.router)
    app.add_middleware(Gate, workspace=workspace)
    app.add_middleware(metrics.Measure, metrics=app.state.metrics)
    return app
