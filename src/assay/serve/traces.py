"""`/v1/traces`: served requests that were kept, and what is said of them.

A trace has the id of the answer that the client got (`chatcmpl-...`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from assay.accounts.keys import Caller
from assay.project import releases, row_forecast
from assay.project.workspace import Workspace
from assay.release.traces import MOST_BYTES, Trace
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.route import JsonRoute, Strict

router = APIRouter(tags=["traces"], route_class=JsonRoute)

_Owner = Annotated[Caller, Depends(RequiredScope("traces"))]


class Feedback(Strict):
    """What somebody thinks of an answer: a thumb, what would have been right, or both."""

    thumb: Literal["up", "down"] | None = None
    corrected: Annotated[
        str | None,
        Field(max_length=MOST_BYTES, description="The right answer."),
    ] = None


@router.get("/v1/traces")
def list_(
    workspace: ServedWorkspace,
    caller: _Owner,
    release: Annotated[str | None, Query(max_length=100)] = None,
    corrected: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> dict[str, Any]:
    """List the newest traces, of one release or all; `corrected` selects those with a
    corrected answer."""
    found = releases.list_traces(
        workspace,
        release,
        count=limit,
        corrected=corrected,
        project=caller.project,
    )
    return {"object": "list", "data": [_wire(trace) for trace in found]}


@router.get("/v1/traces/{id}")
def retrieve(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Show a trace with its whole conversation."""
    return _wire(releases.show_trace(workspace, id, caller.project))


@router.post("/v1/traces/{id}/feedback")
def feedback(workspace: ServedWorkspace, id: str, body: Feedback, caller: _Owner) -> dict[str, Any]:
    """Attach a thumb, the right answer, or both; later feedback replaces earlier. Besides the
    trace, `warning` is a sentence where the right answer spells a label or value otherwise than
    most rows, else null."""
    trace = releases.give_feedback(
        workspace,
        id,
        thumb=body.thumb,
        corrected=body.corrected,
        project=caller.project,
    )
    return {**_wire(trace), "warning": _warn(workspace, caller, body.corrected)}


def _warn(workspace: Workspace, caller: Caller, corrected: str | None) -> str | None:
    """See `warn_of_spelling`; None also for a caller who does not see the folder's rows."""
    if corrected is None or caller.project != workspace.name:
        return None
    return row_forecast.warn_of_spelling(workspace, corrected)


def _wire(trace: Trace) -> dict[str, Any]:
    return {"object": "trace", **trace.to_dict()}
