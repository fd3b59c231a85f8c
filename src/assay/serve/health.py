"""`/healthz` and `/readyz`: the only routes that need no key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, Any]:
    """200 as long as the process lives."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> dict[str, Any]:
    """It can answer: its database can be read.

    `configuration` is `last_good` where assay.yaml was broken at the start; why is in the log.
    """
    workspace = request.app.state.workspace
    workspace.store.setting("")  # there is none: what counts is that it was looked up
    configuration = "current" if workspace.broken is None else "last_good"
    return {"status": "ready", "configuration": configuration}
