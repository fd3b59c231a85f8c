"""`/v1/batches`: OpenAI's batches of requests, answered by this server."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from assay.accounts.keys import Caller
from assay.jobs import batches
from assay.jobs.batches import Batch, BatchRequest
from assay.project.jobs import batches as project
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.files import After, Limit, make_page
from assay.serve.forms import parse_lifetime
from assay.serve.route import JsonRoute

router = APIRouter(tags=["batches"], route_class=JsonRoute)

_Owner = Annotated[Caller, Depends(RequiredScope("files"))]


@router.post("/v1/batches", dependencies=[Depends(RequiredScope("chat"))])
def create(workspace: ServedWorkspace, body: BatchRequest, caller: _Owner) -> dict[str, Any]:
    """Queue the requests of a file. All of them are checked before the first is answered."""
    lifetime_s = parse_lifetime(body.output_expires_after)
    return as_wire(project.create(workspace, caller, body, lifetime_s))


@router.get("/v1/batches")
def list_(
    workspace: ServedWorkspace,
    caller: _Owner,
    after: After = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """List the batches of the project, newest first."""
    found, more = batches.batches(workspace.store, caller.project, after=after, limit=limit)
    return make_page([as_wire(batch) for batch in found], more)


@router.get("/v1/batches/{id}")
def retrieve(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Describe a batch and its state."""
    return as_wire(batches.find(workspace.store, caller.project, id))


@router.post("/v1/batches/{id}/cancel")
def cancel(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Cancel a batch; the answers it has are kept."""
    return as_wire(project.cancel(workspace, caller.project, id, caller.key_id))


def as_wire(batch: Batch) -> dict[str, Any]:
    """A batch as OpenAI's batch object."""
    ended = {batch.outcome: _seconds(batch.ended)}
    errors = [
        {name: one.get(name) for name in ("code", "line", "message", "param")}
        for one in batch.errors or ()
    ]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": _seconds(batch.created),
        "in_progress_at": _seconds(batch.begun),
        "expires_at": _seconds(batch.expires),
        "finalizing_at": _seconds(batch.finalizing),
        "completed_at": ended.get("completed"),
        "failed_at": ended.get("failed"),
        "expired_at": ended.get("expired"),
        "cancelling_at": _seconds(batch.cancelling),
        "cancelled_at": ended.get("cancelled"),
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": _usage(batch.usage or {}),
        "metadata": batch.client_metadata,
    }


def _usage(usage: dict[str, int]) -> dict[str, Any]:
    def count(name: str) -> int:
        return usage.get(name, 0)

    return {
        "input_tokens": count("input_tokens"),
        "input_tokens_details": {"cached_tokens": count("cached_tokens")},
        "output_tokens": count("output_tokens"),
        "output_tokens_details": {"reasoning_tokens": count("reasoning_tokens")},
        "total_tokens": count("total_tokens"),
    }


def _seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None
