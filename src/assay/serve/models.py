"""`/v1/models`: every name that the caller's project can use; those of fine-tuned models go."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from assay.accounts.keys import Caller
from assay.project.answer.names import ModelEntry, model_entries, resolve
from assay.project.jobs.tuned_models import delete_model
from assay.serve.auth import RequiredScope, ServedWorkspace

router = APIRouter(tags=["models"])

_Reader = Annotated[Caller, Depends(RequiredScope("chat"))]


@router.get("/v1/models")
def list_(workspace: ServedWorkspace, caller: _Reader) -> dict[str, Any]:
    """List the models. `trainable` says whether a fine-tuning job can start from one."""
    return {
        "object": "list",
        "data": [_line(found, caller) for found in model_entries(workspace, caller.project)],
    }


@router.get("/v1/models/{name:path}")
def retrieve(workspace: ServedWorkspace, name: str, caller: _Reader) -> dict[str, Any]:
    """Describe a model of the project."""
    for found in model_entries(workspace, caller.project):
        if found.name == name:
            return _line(found, caller)
    served = resolve(workspace, name, caller.project, caller.key_id)
    return _line(ModelEntry(name, "version" if served.agent is None else "agent"), caller)


@router.delete("/v1/models/{name:path}")
def delete(
    workspace: ServedWorkspace,
    name: str,
    caller: Annotated[Caller, Depends(RequiredScope("fine_tuning"))],
) -> dict[str, Any]:
    """Delete a model of a fine-tuning job, or a checkpoint, that nothing uses."""
    delete_model(workspace, caller.project, name, caller.key_id)
    return {"id": name, "object": "model", "deleted": True}


def _line(found: ModelEntry, caller: Caller) -> dict[str, Any]:
    shared = found.kind in ("base", "embedder")
    return {
        "id": found.name,
        "object": "model",
        "created": int(found.created.timestamp()) if found.created else 0,
        "owned_by": "assay" if shared else caller.project,
        "kind": found.kind,
        "trainable": found.kind == "base",
    }
