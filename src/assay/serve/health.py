"""`/healthz` and `/readyz`: the only routes that need no key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import select

from assay.store.tables import SettingRow

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, Any]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> dict[str, Any]:
    """It can answer: its database can be read.

    `configuration` is `last_good` where assay.yaml was broken at the start; why is in the log.
    """
    workspace = request.app.state.workspace
    with workspace.store.session() as session:
        session.execute(select(SettingRow.name).limit(1))
    configuration = "current" if workspace.broken is None else "last_good"
    return {"status": "ready", "configuration": configuration}
