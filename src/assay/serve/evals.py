"""`/v1/evals`: OpenAI's evals, run by this server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError

from assay.accounts.keys import Caller
from assay.evaluate import criteria
from assay.evaluate.criteria import MODEL_CRITERIA
from assay.jobs import eval_results, eval_runs, evals
from assay.jobs.batches import Batch
from assay.jobs.eval_request import (
    EvalChange,
    EvalRequest,
    RunRequest,
    SampledSource,
)
from assay.jobs.eval_results import ItemStatus
from assay.jobs.eval_runs import EvalRun, RunStatus
from assay.jobs.evals import Eval, Order
from assay.project.jobs import evals as project
from assay.project.jobs.requests import check_readable
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.chat import ChatRequest
from assay.serve.errors import ApiError, invalid, not_found
from assay.serve.eval_sampling import sampling_body
from assay.serve.files import After, Limit, make_page
from assay.serve.route import JsonRoute

router = APIRouter(tags=["evals"], route_class=JsonRoute)

_Owner = Annotated[Caller, Depends(RequiredScope("files"))]
_SAMPLE_SCHEMA = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "output_text": {"type": "string"},
        "output_json": {},
        "output_tools": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["output_text"],
}
_LOGS_SCHEMA = {
    "type": "object",
    "properties": {
        "input": {"type": "array", "items": {"type": "object"}},
        "tools": {"type": "array", "items": {"type": "object"}},
        "corrected": {"type": "string"},
        "metadata": {"type": "object"},
    },
    "required": ["input"],
}


@router.post("/v1/evals")
def create(
    request: Request, workspace: ServedWorkspace, body: EvalRequest, caller: _Owner
) -> dict[str, Any]:
    """Create an eval: what items look like, and the criteria that answers are graded by."""
    _check_judges(body)
    trust_code: bool = request.app.state.trust_code
    return as_wire(project.create(workspace, caller, body, trust_code=trust_code))


@router.get("/v1/evals")
def list_(
    workspace: ServedWorkspace,
    caller: _Owner,
    after: After = None,
    limit: Limit = 20,
    order: Order = "asc",
    order_by: Literal["created_at", "updated_at"] = "created_at",
) -> dict[str, Any]:
    """List the evals of the project."""
    found, more = evals.evals(
        workspace.store, caller.project, after=after, limit=limit, order=order, by=order_by
    )
    return make_page([as_wire(one) for one in found], more)


@router.get("/v1/evals/{eval_id}")
def retrieve(workspace: ServedWorkspace, eval_id: str, caller: _Owner) -> dict[str, Any]:
    """Describe an eval and its criteria."""
    return as_wire(evals.find(workspace.store, caller.project, eval_id))


@router.post("/v1/evals/{eval_id}")
def change(
    workspace: ServedWorkspace, eval_id: str, body: EvalChange, caller: _Owner
) -> dict[str, Any]:
    """Rename an eval, or replace its metadata."""
    return as_wire(evals.change(workspace.store, caller.project, eval_id, body))


@router.delete("/v1/evals/{eval_id}")
def delete(workspace: ServedWorkspace, eval_id: str, caller: _Owner) -> dict[str, Any]:
    """Delete an eval with its runs and their files."""
    project.remove(workspace, caller, eval_id)
    return {"object": "eval.deleted", "deleted": True, "eval_id": eval_id}


@router.post("/v1/evals/{eval_id}/runs")
def create_run(
    request: Request, workspace: ServedWorkspace, eval_id: str, body: RunRequest, caller: _Owner
) -> dict[str, Any]:
    """Queue a run: every item is answered, if a model is to, and graded."""
    if isinstance(body.data_source, SampledSource):
        _check_sampling(body.data_source)
    trust_code: bool = request.app.state.trust_code
    run, batch = project.create_run(workspace, caller, eval_id, body, trust_code=trust_code)
    return _run_as_wire(request, workspace, run, batch)


@router.get("/v1/evals/{eval_id}/runs")
def list_runs(
    request: Request,
    workspace: ServedWorkspace,
    eval_id: str,
    caller: _Owner,
    after: After = None,
    limit: Limit = 20,
    order: Order = "asc",
    status: RunStatus | None = None,
) -> dict[str, Any]:
    """List the runs of an eval."""
    found, more = eval_runs.runs(
        workspace.store,
        caller.project,
        eval_id,
        after=after,
        limit=limit,
        order=order,
        status=status,
    )
    lines = [_run_as_wire(request, workspace, run, batch) for run, batch in found]
    return make_page(lines, more)


@router.get("/v1/evals/{eval_id}/runs/{run_id}")
def retrieve_run(
    request: Request, workspace: ServedWorkspace, eval_id: str, run_id: str, caller: _Owner
) -> dict[str, Any]:
    """Describe a run and its state."""
    run, batch = eval_runs.find_run(workspace.store, caller.project, eval_id, run_id)
    return _run_as_wire(request, workspace, run, batch)


@router.post("/v1/evals/{eval_id}/runs/{run_id}/cancel")
@router.post("/v1/evals/{eval_id}/runs/{run_id}")  # as older clients do
def cancel_run(
    request: Request, workspace: ServedWorkspace, eval_id: str, run_id: str, caller: _Owner
) -> dict[str, Any]:
    """Cancel a run; the items that were graded are kept."""
    run, batch = project.cancel_run(workspace, caller, eval_id, run_id)
    return _run_as_wire(request, workspace, run, batch)


@router.delete("/v1/evals/{eval_id}/runs/{run_id}")
def delete_run(
    workspace: ServedWorkspace, eval_id: str, run_id: str, caller: _Owner
) -> dict[str, Any]:
    """Delete a run and its files."""
    project.remove_run(workspace, caller, eval_id, run_id)
    return {"object": "eval.run.deleted", "deleted": True, "run_id": run_id}


@router.get("/v1/evals/{eval_id}/runs/{run_id}/output_items")
def list_items(
    workspace: ServedWorkspace,
    eval_id: str,
    run_id: str,
    caller: _Owner,
    after: After = None,
    limit: Limit = 20,
    order: Order = "asc",
    status: ItemStatus | None = None,
) -> dict[str, Any]:
    """List what came of the items of a run; none while it is not over."""
    run, batch = _find_readable(workspace, caller, eval_id, run_id)
    if batch.outcome is None:
        return make_page([], False)
    mark = None if after is None else _number(run, after)
    with eval_results.open_results(workspace.store, batch) as results:
        found, more = results.page(
            after=mark, limit=limit, newest_first=order == "desc", status=status
        )
    return make_page([_item_as_wire(run, number, outcome) for number, outcome in found], more)


@router.get("/v1/evals/{eval_id}/runs/{run_id}/output_items/{item_id}")
def retrieve_item(
    workspace: ServedWorkspace, eval_id: str, run_id: str, item_id: str, caller: _Owner
) -> dict[str, Any]:
    """Show what came of one item."""
    run, batch = _find_readable(workspace, caller, eval_id, run_id)
    number = _number(run, item_id)
    if batch.outcome is None:
        raise not_found("output item", item_id)
    with eval_results.open_results(workspace.store, batch) as results:
        return _item_as_wire(run, number, results.read(number))


def _find_readable(
    workspace: ServedWorkspace, caller: Caller, eval: str, id: str
) -> tuple[EvalRun, Batch]:
    """A run whose items the caller may read."""
    run, batch = eval_runs.find_run(workspace.store, caller.project, eval, id)
    check_readable(workspace, caller, batch.scope, "eval.run.read", id)
    return run, batch


def as_wire(evaluation: Eval) -> dict[str, Any]:
    """An eval as OpenAI's eval object."""
    config = evaluation.request["data_source_config"]
    if config["type"] == "custom":
        item = config["item_schema"]
        needed = ["item", "sample"] if config.get("include_sample_schema") else ["item"]
        kind: dict[str, Any] = {"type": "custom"}
    else:
        item, needed = _LOGS_SCHEMA, ["item", "sample"]
        kind = {"type": config["type"], "metadata": config.get("metadata") or {}}
    properties = {"item": item, "sample": _SAMPLE_SCHEMA}
    schema = {
        "type": "object",
        "properties": {name: properties[name] for name in needed},
        "required": needed,
    }
    return {
        "id": evaluation.id,
        "object": "eval",
        "created_at": int(evaluation.created.timestamp()),
        "data_source_config": {**kind, "schema": schema},
        "metadata": evaluation.client_metadata or {},
        "name": evaluation.name,
        "testing_criteria": evaluation.request["testing_criteria"],
    }


def _run_as_wire(
    request: Request, workspace: ServedWorkspace, run: EvalRun, batch: Batch
) -> dict[str, Any]:
    """A run as OpenAI's object. It is counted when it ends, and here where that was lost."""
    counted = eval_runs.tally(workspace.store, run, batch) or eval_results.EMPTY
    path = request.url_for("retrieve_run", eval_id=run.eval, run_id=run.id)
    return {
        "id": run.id,
        "object": "eval.run",
        "created_at": int(run.created.timestamp()),
        "eval_id": run.eval,
        "name": run.name,
        "status": eval_runs.status_of(batch),
        "model": run.data_source.get("model"),
        "data_source": run.data_source,
        "error": _error(batch),
        "metadata": run.client_metadata or {},
        "report_url": str(path),
        **counted,
        "result_counts": {**counted["result_counts"], "total": run.total},
    }


def _error(batch: Batch) -> dict[str, Any] | None:
    if batch.outcome == "expired":
        return dict(eval_results.LATE)
    if batch.outcome != "failed":
        return None
    error = (batch.errors or [{}])[0]
    return {"code": error.get("code") or "server_error", "message": error.get("message") or ""}


def _item_as_wire(run: EvalRun, number: int, outcome: dict[str, Any]) -> dict[str, Any]:
    """What came of an item as OpenAI's object."""
    sample = outcome["sample"]
    error = sample.get("error")
    sampling, usage = sample.get("sampling") or {}, sample.get("usage")
    calls = {"tool_calls": sample["output_tools"]} if sample.get("output_tools") else {}
    text = sample.get("output_text")
    answered = [] if error else [{"role": "assistant", "content": text, **calls}]
    return {
        "id": f"outputitem_{run.id.removeprefix('evalrun_')}_{number}",
        "object": "eval.run.output_item",
        "created_at": int(run.created.timestamp()),
        "eval_id": run.eval,
        "run_id": run.id,
        "status": outcome["status"],
        "datasource_item": outcome["datasource_item"],
        "datasource_item_id": number - 1,
        "results": outcome["results"],
        "sample": {
            "input": sample.get("input") or [],
            "output": answered,
            "model": sample.get("model") or run.data_source.get("model"),
            "finish_reason": sample.get("finish_reason"),
            "usage": usage,
            "error": error,
            **{name: sampling.get(name) for name in eval_results.SAMPLING},
        },
    }


def _number(run: EvalRun, id: str) -> int:
    """Of an item, which stands in its id."""
    head, _, number = id.rpartition("_")
    own = f"outputitem_{run.id.removeprefix('evalrun_')}"
    if head != own or not (number.isascii() and number.isdecimal() and len(number) <= 9):
        raise not_found("output item", id)
    return int(number)


def _check_judges(request: EvalRequest) -> None:
    """See that judges could be asked as their criteria say.

    Raises:
        ApiError: a setting cannot be followed.
    """
    for place, one in enumerate(request.testing_criteria):
        if isinstance(one, MODEL_CRITERIA):
            turns = [{"role": message.role, "content": "a"} for message in one.input]
            try:
                ChatRequest.model_validate(criteria.judge_body(one, turns))
            except ValidationError as error:
                raise _invalid(error, f"testing_criteria[{place}]") from None


def _check_sampling(source: SampledSource) -> None:
    """See that a model could be asked so.

    Raises:
        ApiError: a setting cannot be followed.
    """
    if source.model is None:
        return
    try:
        sampling = sampling_body(source.type, source.sampling_params)
        turn = {"role": "user", "content": "a"}
        ChatRequest.model_validate({**sampling, "model": source.model, "messages": [turn]})
    except ValidationError as error:
        raise _invalid(error, "data_source.sampling_params") from None


def _invalid(error: ValidationError, param: str) -> ApiError:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"]))
    return invalid(f"Invalid '{param}': {where}: {problem['msg']}.", param)
