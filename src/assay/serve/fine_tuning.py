"""`/v1/fine_tuning/jobs`: OpenAI's fine-tuning, on this machine."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from assay.accounts.keys import Caller
from assay.jobs import fine_tuning
from assay.jobs.events import JobEvent
from assay.jobs.fine_tuning import FineTuning, TuningCheckpoint, organisation
from assay.jobs.step_metrics import ROLLOUTS, TRAIN_REWARD, TRAIN_TOKENS, VALID_REWARD
from assay.jobs.tuning_request import Hyperparameters, TuningRequest
from assay.project.jobs import fine_tuning as project
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.errors import not_found
from assay.serve.files import After, Limit, make_page
from assay.serve.route import JsonRoute

router = APIRouter(tags=["fine-tuning"], route_class=JsonRoute)

_Owner = Annotated[Caller, Depends(RequiredScope("fine_tuning"))]
_LEVELS = {"warning": "warn", "error": "error"}
_EVENT = "ftevent-"


@router.post("/v1/fine_tuning/jobs")
def create(workspace: ServedWorkspace, body: TuningRequest, caller: _Owner) -> dict[str, Any]:
    """Queue a job. Its files are checked before it trains."""
    return as_wire(project.create(workspace, caller.project, body, caller.key_id))


@router.get("/v1/fine_tuning/jobs")
def list_(
    request: Request,
    workspace: ServedWorkspace,
    caller: _Owner,
    after: After = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """List the jobs of the project, newest first; `metadata[key]=value` filters them."""
    found, more = fine_tuning.tunings(
        workspace.store,
        caller.project,
        after=after,
        limit=limit,
        metadata=_metadata(request),
    )
    return make_page([as_wire(tuning) for tuning in found], more)


@router.get("/v1/fine_tuning/jobs/{id}")
def retrieve(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Describe a job and its state."""
    return as_wire(fine_tuning.find(workspace.store, caller.project, id))


@router.get("/v1/fine_tuning/jobs/{id}/events")
def events(
    workspace: ServedWorkspace, id: str, caller: _Owner, after: After = None, limit: Limit = 20
) -> dict[str, Any]:
    """List the events of a job, newest first."""
    found, more = fine_tuning.events(
        workspace.store, caller.project, id, after=_key(after), limit=limit
    )
    return make_page([_event(event) for event in found], more)


@router.get("/v1/fine_tuning/jobs/{id}/checkpoints")
def checkpoints(
    workspace: ServedWorkspace, id: str, caller: _Owner, after: After = None, limit: Limit = 10
) -> dict[str, Any]:
    """List the checkpoints of the last epochs, newest first."""
    found, more = fine_tuning.checkpoints(
        workspace.store, caller.project, id, after=after, limit=limit
    )
    return make_page([_checkpoint(one) for one in found], more)


@router.post("/v1/fine_tuning/jobs/{id}/cancel")
def cancel(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Cancel a queued or running job."""
    return as_wire(project.ask(workspace, caller.project, id, "cancel", caller.key_id))


@router.post("/v1/fine_tuning/jobs/{id}/pause")
def pause(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Pause a job after its current step."""
    return as_wire(project.ask(workspace, caller.project, id, "pause", caller.key_id))


@router.post("/v1/fine_tuning/jobs/{id}/resume")
def resume(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Resume a paused job from its last step."""
    return as_wire(project.ask(workspace, caller.project, id, "resume", caller.key_id))


def as_wire(tuning: FineTuning) -> dict[str, Any]:
    """A job as OpenAI's fine-tuning job object."""
    result = tuning.result or {}
    numbers = tuning.request.numbers.model_dump() | {
        key: value for key, value in (tuning.chosen or {}).items() if key != "settings"
    }
    return {
        "id": tuning.id,
        "object": "fine_tuning.job",
        "created_at": int(tuning.created.timestamp()),
        "finished_at": _seconds(tuning.ended),
        "estimated_finish": _seconds(tuning.finish),
        "model": tuning.request.model,
        "fine_tuned_model": result.get("model"),
        "organization_id": f"org-{organisation(tuning.project)}",
        "status": tuning.status,
        "training_file": tuning.request.training_file,
        "validation_file": tuning.request.validation_file,
        "result_files": [result["result_file"]] if result else [],
        "trained_tokens": result.get("trained_tokens"),
        "error": tuning.error,
        "hyperparameters": {key: numbers[key] for key in Hyperparameters.model_fields},
        "method": {
            "type": tuning.request.kind,
            tuning.request.kind: {**_further(tuning.request), "hyperparameters": numbers},
        },
        "seed": tuning.seed,
        "user_provided_suffix": tuning.request.suffix,
        "metadata": tuning.request.metadata,
        "integrations": [],
    }


def _further(request: TuningRequest) -> dict[str, Any]:
    """What a method is given beside its numbers."""
    own = request.reinforcement
    if own is None:
        return {}
    return own.model_dump(mode="json", by_alias=True, exclude={"hyperparameters"})


def _figures(data: dict[str, Any]) -> dict[str, Any]:
    """The figures of an event; rewards under the two names that OpenAI's events have for each."""
    scores = {name: data[name] for name in (TRAIN_REWARD, VALID_REWARD) if name in data}
    if not scores:
        return data
    again = {
        "train_mean_reward": data.get(TRAIN_REWARD),
        "full_valid_mean_reward": data.get(VALID_REWARD),
        "completion_tokens_mean": data.get(TRAIN_TOKENS),
    }
    known = {name: value for name, value in again.items() if value is not None}
    kept = {name: value for name, value in data.items() if name != ROLLOUTS}
    return {**kept, **known, "scores": scores}


def _event(event: JobEvent) -> dict[str, Any]:
    return {
        "id": f"{_EVENT}{event.key}",
        "object": "fine_tuning.job.event",
        "created_at": int(event.at.timestamp()),
        "level": _LEVELS.get(event.kind, "info"),
        "message": event.message,
        "type": "metrics" if event.kind == "metrics" else "message",
        "data": _figures(event.data or {}),
    }


def _checkpoint(one: TuningCheckpoint) -> dict[str, Any]:
    return {
        "id": one.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(one.at.timestamp()),
        "fine_tuned_model_checkpoint": one.name,
        "fine_tuning_job_id": one.job,
        "step_number": one.step,
        "metrics": one.metrics,
    }


def _seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None


def _key(after: str | None) -> int | None:
    """The number in an event's id."""
    if after is None:
        return None
    number = after.removeprefix(_EVENT)
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        raise not_found("event", after, "after")
    return int(number)


def _metadata(request: Request) -> dict[str, str] | None:
    """`metadata[key]=value` of the query; `metadata=null` asks for jobs without any."""
    if request.query_params.get("metadata") == "null":
        return {}
    found = {
        key[len("metadata[") : -1]: value
        for key, value in request.query_params.items()
        if key.startswith("metadata[") and key.endswith("]")
    }
    return found or None
