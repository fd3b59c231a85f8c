"""Evals: what may be asked for here, and by whom.

    evaluation = create(workspace, caller, EvalRequest(...))
    run, batch = create_run(workspace, caller, evaluation.id, RunRequest(...))

They are looked at with `assay.jobs.evals` and `eval_runs`; `assay.serve.eval_items` answers and
grades items.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from assay.accounts.keys import Caller
from assay.agent.answering import EffortError, check_effort
from assay.errors import UsageError
from assay.evaluate import criteria
from assay.evaluate.confined import CodeError, find_fault
from assay.evaluate.criteria import CRITERION, MODEL_CRITERIA, Criterion, PythonCriterion
from assay.evaluate.model_graders import check_messages
from assay.jobs import batches as job_batches
from assay.jobs import eval_results, eval_runs, evals
from assay.jobs.batches import Batch, BatchStateError, Endpoint
from assay.jobs.eval_request import (
    CustomConfig,
    EvalRequest,
    InlineItems,
    MessageTemplate,
    RunRequest,
    SampledSource,
)
from assay.jobs.eval_runs import EvalRun
from assay.jobs.evals import Eval
from assay.project.answer.names import UnknownModelError, resolve
from assay.project.jobs import eval_items
from assay.project.jobs.requests import ADMIN, RefusedError
from assay.project.workspace import Workspace
from assay.store import stored_files
from assay.store.audit import audit

CHAT: Endpoint = "/v1/chat/completions"
"""Where a model is asked."""
NO_CODE = "this server does not run code that comes with a request."
TRUST = "Use another criterion; the owner of the server can start it with --trust-code."
MOST_EVALS = 1_000
MOST_RUNS = 1_000
"""Of an eval."""
MOST_BYTES = 256 * 1024
"""Of what an eval or a run is asked for, without items: it is kept in the database."""
MOST_OPEN_RUNS = 20
"""Of a project, that are not over."""


def create(
    workspace: Workspace, caller: Caller, request: EvalRequest, *, trust_code: bool = False
) -> Eval:
    """Keep an eval.

    Args:
        trust_code: the owner of this server has said that code of admins is run.

    Raises:
        RefusedError: a criterion or the schema cannot be used here, or there are too many evals.
    """
    store, project = workspace.store, caller.project
    asked = request.model_dump(include={"data_source_config", "testing_criteria"})
    _check_size(asked, "testing_criteria")
    for place, one in enumerate(request.testing_criteria):
        try:
            criteria.check(one)
        except UsageError as error:
            param = f"testing_criteria[{place}]"
            raise RefusedError(str(error), param, "invalid_grader") from None
    _check_code(caller, request.testing_criteria, trust_code)
    if isinstance(request.data_source_config, CustomConfig):
        eval_items.check_schema(request.data_source_config.item_schema)
    if evals.count(store, project) >= MOST_EVALS:
        raise RefusedError(
            f"this project has {MOST_EVALS} evals.", "name", "too_many_evals", "Delete some."
        )
    evaluation = evals.create(store, project, request)
    code = [one.source for one in request.testing_criteria if isinstance(one, PythonCriterion)]
    details = {"code": [hashlib.sha256(one.encode()).hexdigest() for one in code]} if code else {}
    audit(store, project, caller.key_id, "eval.create", evaluation.id, details)
    return evaluation


def remove(workspace: Workspace, caller: Caller, id: str) -> None:
    """Delete an eval, its runs and their files.

    Raises:
        NotFoundError: there is none of that id in the project.
        BatchStateError: a run is not over.
    """
    evals.remove(workspace.store, caller.project, id)
    audit(workspace.store, caller.project, caller.key_id, "eval.delete", id)


def create_run(
    workspace: Workspace,
    caller: Caller,
    eval: str,
    request: RunRequest,
    *,
    trust_code: bool = False,
) -> tuple[EvalRun, Batch]:
    """Queue a run. All its items are looked at first.

    Args:
        trust_code: as in `create`; the code of an eval that an admin has created is run for all.

    Raises:
        NotFoundError: there is no such eval.
        RefusedError: it cannot be done here.
        QuotaError: the project has all that it may have of the disk.
    """
    store, project, source = workspace.store, caller.project, request.data_source
    evaluation = evals.find(store, project, eval)
    asked = source.model_dump(exclude={"source": {"content"}}, exclude_none=True)
    _check_size(asked, "data_source")
    if isinstance(source, SampledSource):
        _check_messages(source)
    _check_models(workspace, caller, evaluation, request)
    if not trust_code and any(isinstance(one, PythonCriterion) for one in criteria_of(evaluation)):
        raise RefusedError(NO_CODE, "eval_id", "invalid_grader", TRUST)
    if eval_runs.count_runs(store, eval) >= MOST_RUNS:
        raise RefusedError(
            f"this eval has {MOST_RUNS:,} runs.", "data_source", "too_many_runs", "Delete some."
        )
    if job_batches.count_open(store, project, runs=True) >= MOST_OPEN_RUNS:
        raise RefusedError(
            f"this project has {MOST_OPEN_RUNS} runs that are not over.",
            "data_source",
            "too_many_runs",
            "Wait until some are over, or cancel them.",
        )
    workspace.quota.check(project, 1)
    config = evaluation.request["data_source_config"]
    items = eval_items.open_items(workspace, caller, source.source, config.get("metadata") or {})
    each = items.each
    if config["type"] == "custom":
        each = eval_items.check_fit(each, config["item_schema"])
    id = eval_runs.new_run_id()
    total = 0

    def lines() -> Iterator[bytes]:
        nonlocal total
        for line in eval_results.write_items(id, each):
            total += 1
            yield line

    written = stored_files.write(store, lines(), eval_items.MOST_BYTES)
    try:
        workspace.quota.check(project, written.bytes)
        if isinstance(source.source, InlineItems):
            asked["source"] = {"type": "file_id", "id": written.id}
        elif items.source is not None:
            asked["source"] = items.source.model_dump(exclude_none=True)
        eval_runs.create_run(
            store,
            evaluation,
            request,
            id,
            items=written,
            total=total,
            key_id=caller.key_id,
            data_source=asked,
            lifetime_s=items.lifetime_s,
            scope=items.scope,
        )
    except BaseException:
        stored_files.discard(store, written.id)
        raise
    audit(store, project, caller.key_id, "eval.run.create", id, {"eval": eval})
    return eval_runs.find_run(store, project, eval, id)


def cancel_run(workspace: Workspace, caller: Caller, eval: str, id: str) -> tuple[EvalRun, Batch]:
    """Cancel a run; what was graded is kept.

    Raises:
        NotFoundError: there is none.
        BatchStateError: it is over.
    """
    store, project = workspace.store, caller.project
    _, batch = eval_runs.find_run(store, project, eval, id)
    if batch.outcome is not None:
        status = eval_runs.status_of(batch)
        raise BatchStateError(f"Cannot cancel a run with status '{status}'.")
    job_batches.stop(store, batch)
    audit(store, project, caller.key_id, "eval.run.cancel", id)
    return eval_runs.find_run(store, project, eval, id)


def remove_run(workspace: Workspace, caller: Caller, eval: str, id: str) -> None:
    """Delete a run and its files.

    Raises:
        NotFoundError: there is none.
        BatchStateError: it is not over.
    """
    evals.remove(workspace.store, caller.project, eval, id)
    audit(workspace.store, caller.project, caller.key_id, "eval.run.delete", id)


def criteria_of(evaluation: Eval) -> list[Criterion]:
    """The criteria of an eval."""
    return [CRITERION.validate_python(one) for one in evaluation.request["testing_criteria"]]


def _check_code(caller: Caller, asked: Sequence[Criterion], trust_code: bool) -> None:
    """See that criteria of code may be kept, and that their sources are Python."""
    places = [n for n, one in enumerate(asked) if isinstance(one, PythonCriterion)]
    if not places:
        return
    param = f"testing_criteria[{places[0]}]"
    if not trust_code:
        raise RefusedError(NO_CODE, param, "invalid_grader", TRUST)
    if not caller.may(ADMIN):
        what = "criteria of code are created with a key that has the scope admin."
        raise RefusedError(what, param, "insufficient_permissions")
    try:
        fault = find_fault([one.source for one in asked if isinstance(one, PythonCriterion)])
    except CodeError as error:
        raise RefusedError(f"The sources: {error}", param, "invalid_grader") from None
    if fault is not None:
        place, why = fault
        param = f"testing_criteria[{places[place]}].source"
        raise RefusedError(f"it is no Python: {why}.", param, "invalid_grader")


def _check_size(asked: dict[str, Any], param: str) -> None:
    """See that a database can keep it."""
    try:
        raw = json.dumps(asked, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise RefusedError("a number is none, or too large.", param, "invalid_value") from None
    if len(raw) > MOST_BYTES:
        raise RefusedError(
            f"it is longer than {MOST_BYTES // 1024} KiB.",
            param,
            "request_too_large",
            "Shorten schema and templates; long texts can stand in the items.",
        )


def _check_messages(source: SampledSource) -> None:
    """See that the variables of a template can be put in."""
    how = source.input_messages
    if not isinstance(how, MessageTemplate):
        return
    try:
        check_messages(how.template, names=("item",))
    except UsageError as error:
        param = "data_source.input_messages"
        raise RefusedError(str(error), param, "invalid_template") from None


def _check_models(
    workspace: Workspace, caller: Caller, evaluation: Eval, request: RunRequest
) -> None:
    """See that whoever is to be asked is known, and can be asked so."""
    asked = [
        (f"testing_criteria[{place}]", one.model, criteria.sampling_of(one))
        for place, one in enumerate(criteria_of(evaluation))
        if isinstance(one, MODEL_CRITERIA)
    ]
    source = request.data_source
    if isinstance(source, SampledSource) and source.model is not None:
        asked.append(("data_source", source.model, source.sampling_params or {}))
    if asked and not caller.may("chat"):
        raise RefusedError(
            "this key may not ask models, which the run needs.",
            "data_source",
            "insufficient_permissions",
            "Use a key with the scope chat.",
        )
    for param, model, sampling in asked:
        try:
            target = resolve(workspace, model, caller.project, caller.key_id)
        except UnknownModelError:
            raise RefusedError(
                f"The model {model!r} does not exist.",
                f"{param}.model",
                "model_not_found",
                "GET /v1/models lists those that do.",
            ) from None
        if target.agent is not None and target.agent.route is not None:
            continue  # what is asked of whom is known with the request
        try:
            check_effort(model, target.model, sampling.get("reasoning_effort"))
        except EffortError as error:
            where = f"{param}.sampling_params"
            raise RefusedError(str(error), where, "unsupported_parameter") from None
