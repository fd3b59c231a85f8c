"""`/v1/releases`: which agent a name points at, changed as `assay release` changes it.

A promotion goes through the same gates: a stored comparison, and the engine that serves. The
second may take minutes, for which the request waits; what it would replace goes on answering.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from assay.accounts.keys import Caller
from assay.project import releases
from assay.project.releases import Author
from assay.release.releases import Release
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.errors import not_found
from assay.serve.route import JsonRoute, Strict

router = APIRouter(tags=["releases"], route_class=JsonRoute)

_Owner = Annotated[Caller, Depends(RequiredScope("releases"))]
_Agent = Annotated[str, Field(max_length=120, description="NAME@VERSION, such as fine-tune@2.")]
_Force = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        description="Why the change is made without evidence from a comparison; logged.",
    ),
]


class PromotionRequest(Strict):
    """The agent that answers everything from now on."""

    agent: _Agent
    force: _Force | None = None


class CanaryRequest(Strict):
    """An agent that answers a share of the keys."""

    share: Annotated[
        float,
        Field(ge=0, lt=1, description="Share of the callers, 0 to below 1; 0 ends the canary."),
    ]
    agent: Annotated[_Agent | None, Field(description="The agent; null: the current canary.")] = (
        None
    )
    force: _Force | None = None


@router.get("/v1/releases")
def list_(workspace: ServedWorkspace, caller: _Owner) -> dict[str, Any]:
    """List all releases of the project."""
    found = releases.list_releases(workspace, caller.project)
    return {"object": "list", "data": [{"object": "release", **line} for line in found]}


@router.get("/v1/releases/{name}")
def retrieve(workspace: ServedWorkspace, name: str, caller: _Owner) -> dict[str, Any]:
    """Describe a release and its agents."""
    for line in releases.list_releases(workspace, caller.project):
        if line["name"] == name:
            return {"object": "release", **line}
    raise not_found("release", name)


@router.get("/v1/releases/{name}/history")
def history(workspace: ServedWorkspace, name: str, caller: _Owner) -> dict[str, Any]:
    """List the changes of a release, newest first."""
    found = releases.history(workspace, name, caller.project)
    return {"object": "list", "data": [_wire(change) for change in found]}


@router.post("/v1/releases/{name}/promote")
def promote(
    request: Request, workspace: ServedWorkspace, name: str, body: PromotionRequest, caller: _Owner
) -> dict[str, Any]:
    """Serve an agent to all callers, if a stored comparison shows that it is no worse and the
    serving engine answers as the evaluated one."""
    changed = releases.promote(
        workspace,
        name,
        body.agent,
        force=body.force,
        by=_by(caller),
        engines=request.app.state.engines,
    )
    return _wire(changed)


@router.post("/v1/releases/{name}/canary")
def canary(
    request: Request, workspace: ServedWorkspace, name: str, body: CanaryRequest, caller: _Owner
) -> dict[str, Any]:
    """Serve an agent to a share of the keys, each of which always gets the same agent. The
    checks are those of a promotion."""
    changed = releases.canary(
        workspace,
        name,
        body.share,
        body.agent,
        force=body.force,
        by=_by(caller),
        engines=request.app.state.engines,
    )
    return _wire(changed)


@router.post("/v1/releases/{name}/rollback")
def rollback(workspace: ServedWorkspace, name: str, caller: _Owner) -> dict[str, Any]:
    """Undo the last change: end the canary or, without one, return to the previous agent."""
    return _wire(releases.rollback(workspace, name, _by(caller)))


def _by(caller: Caller) -> Author:
    return Author(caller.project, caller.key_id)


def _wire(change: Release) -> dict[str, Any]:
    return {"object": "release.change", **change.to_dict()}
