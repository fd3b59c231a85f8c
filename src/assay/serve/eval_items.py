"""One item of an eval's run: a model answers it, or it has an answer, and the criteria grade it.

The route stands in the app that answers the lines of batches and in no other: whoever asks it is a
run of this server (`assay.jobs.evals`). It asks models by the routes that clients ask.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

import anyio
import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Depends, Request, Response

from assay import json_reader
from assay.accounts.keys import Caller
from assay.errors import AssayError, UsageError
from assay.evaluate import criteria
from assay.evaluate.confined import CodeError, ConfinementError, TimeAllowance
from assay.evaluate.criteria import MODEL_CRITERIA, Criterion, Grade, PythonCriterion
from assay.evaluate.model_graders import fill_messages
from assay.evaluate.templates import VariableError, describe_sample
from assay.jobs import eval_results, eval_runs, evals
from assay.jobs.batches import EVAL_ITEMS
from assay.jobs.eval_request import ItemReference, KeptAnswers, RunRequest, SampledSource
from assay.log_lines import RateFilter
from assay.models.embed import STARTER, Vectors
from assay.project.answer.gateway import Gateway
from assay.project.jobs.evals import CHAT, NO_CODE, criteria_of
from assay.project.workspace import Workspace
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.batch_requests import LineReply, ask, gateway_of
from assay.serve.errors import of_assay
from assay.serve.eval_sampling import sampling_body
from assay.serve.route import JsonObject, JsonRoute, Strict

router = APIRouter(route_class=JsonRoute)
log = logging.getLogger("assay.serve.eval_items")
log.addFilter(RateFilter())  # of a run, every item may say the same

PATIENCE_S = 180.0
"""Most that the judges of one item are waited for while they are busy: its answer is paid for, and
is not asked for again."""
JUDGE_TRIES = 2
"""Of a judge that cannot be asked."""
_AT_ONCE = 2
"""Threads of each kind, beside those of the API's routes."""
_comparison_threads: RunVar[CapacityLimiter] = RunVar("comparisons of graders")
"""They compare long texts."""
_code_threads: RunVar[CapacityLimiter] = RunVar("code of graders")
"""They wait for processes that run code."""
_NOT_ITS_FAULT = (
    "invalid_variable_error",
    "model_grader_parse_error",
    "model_grader_server_error",
    "python_grader_runtime_error",
    "python_grader_server_error",
    "other_error",
)
"""Errors of a criterion that say nothing of the answer."""

_Owner = Annotated[Caller, Depends(RequiredScope("files"))]


class RunItem(Strict):
    """An item of a run."""

    run: str
    item: JsonObject
    sample: JsonObject | None = None


class _UnansweredError(Exception):
    """A model has answered with an error."""

    def __init__(self, reply: LineReply) -> None:
        super().__init__()
        self.reply = reply

    def read(self) -> dict[str, Any]:
        """The error: `code` and `message`."""
        error: dict[str, Any] = json_reader.read(self.reply.body)["error"]
        return error


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a run does with each item.

    Attributes:
        source: None: nobody is asked for answers.
        sampling: fields of a request to chat completions.
    """

    source: SampledSource | None
    sampling: dict[str, Any]
    graders: list[Criterion]


@dataclass
class _Exchange:
    """What was asked for one item, and by whom it was answered.

    Attributes:
        usage: tokens and calls by the name of the model.
        patience_s: that judges may still be waited for.
        compared: the work of the similarities so far, see `rewards.Reward`.
        code: time that code may still take.
    """

    request: Request
    caller: Caller
    usage: dict[str, Counter[str]] = field(default_factory=dict)
    patience_s: float = PATIENCE_S
    compared: int = 0
    code: TimeAllowance = field(default_factory=TimeAllowance)

    async def chat(self, body: Mapping[str, Any], gateway: Gateway | None = None) -> dict[str, Any]:
        """The completion that a model gives.

        Args:
            gateway: that opens it; None: that of the app.

        Raises:
            _UnansweredError: it gives none.
        """
        raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        reply = await ask(self.request.app, self.caller, CHAT, raw, gateway)
        if reply.status != 200:
            raise _UnansweredError(reply)
        completion: dict[str, Any] = json_reader.read(reply.body)
        used = completion.get("usage") or {}
        counted = {
            "invocation_count": 1,
            "prompt_tokens": used.get("prompt_tokens") or 0,
            "completion_tokens": used.get("completion_tokens") or 0,
            "cached_tokens": (used.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            "total_tokens": used.get("total_tokens") or 0,
        }
        self.usage.setdefault(body["model"], Counter()).update(counted)
        return completion

    async def judge(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """As `chat`; one that is busy is waited for, and asked again. Nothing waits here for a
        budget: the item has one of the few places of all batches meanwhile."""
        tries = 0
        while True:
            try:
                return await self.chat(body)
            except _UnansweredError as error:
                tries += 1
                pause = error.reply.pause_s(tries, JUDGE_TRIES)
                if pause is None or error.reply.is_short or pause > self.patience_s:
                    raise
            self.patience_s -= pause
            await anyio.sleep(pause)


@router.post(EVAL_ITEMS)
async def grade(
    request: Request, workspace: ServedWorkspace, body: RunItem, caller: _Owner
) -> Response:
    """Answer and grade an item. A model that answers, and is busy or away, is told as such: the
    item is asked for again. What a judge cannot say is an error of its criterion alone."""
    exchange = _Exchange(request, caller)
    plan = await anyio.to_thread.run_sync(_plan, workspace, body.run)
    try:
        sample = await _sample(exchange, plan, body)
        outcome = await _judge(exchange, workspace, plan.graders, body.item, sample)
    except _UnansweredError as error:
        reply = error.reply
        if reply.pause_s(1, 2) is not None:
            headers = (
                {} if reply.retry_after_s is None else {"retry-after": str(reply.retry_after_s)}
            )
            return Response(reply.body, reply.status, headers, "application/json")
        why = error.read()
        outcome = eval_results.error_outcome(body.item, why["code"], why["message"])
    except VariableError as error:
        message = "A variable of input_messages names what the item does not have."
        outcome = eval_results.error_outcome(body.item, str(error), message)
    except UsageError as error:
        outcome = eval_results.error_outcome(body.item, "invalid_item", str(error))
    outcome["usage"] = {name: dict(used) for name, used in exchange.usage.items()}
    return Response(json.dumps(outcome), media_type="application/json")


@lru_cache(64)
def _plan(workspace: Workspace, run: str) -> _Plan:
    """What a run does with each item; it never changes."""
    found, batch = eval_runs.read_run(workspace.store, run)
    evaluation = evals.find(workspace.store, batch.project, found.eval)
    graders = criteria_of(evaluation)
    source = RunRequest.model_validate({"data_source": found.data_source}).data_source
    if not isinstance(source, SampledSource) or source.model is None:
        return _Plan(None, {}, graders)
    return _Plan(source, sampling_body(source.type, source.sampling_params), graders)


async def _sample(exchange: _Exchange, plan: _Plan, body: RunItem) -> dict[str, Any]:
    """What `sample` stands for."""
    source = plan.source
    if source is None:
        sample = dict(body.sample or {})
        text = sample.get("output_text")
        return {**describe_sample(text), **sample} if isinstance(text, str) else sample
    assert source.model is not None
    messages = _messages(source, body.item)
    sampling = plan.sampling
    if isinstance(source.source, KeptAnswers) and body.item.get("tools"):
        sampling = {"tools": body.item["tools"], **sampling}
    asked = {**sampling, "model": source.model, "messages": messages}
    completion = await exchange.chat(asked, gateway_of(exchange.request))
    [choice] = completion["choices"][:1]
    answer = choice["message"]
    sample = describe_sample(answer.get("content") or "")
    if answer.get("tool_calls"):
        sample["output_tools"] = answer["tool_calls"]
    used = exchange.usage[source.model]
    return {
        **sample,
        "model": completion["model"],
        "input": [{"role": turn["role"], "content": turn["content"]} for turn in messages],
        "finish_reason": choice["finish_reason"],
        "usage": {name: used[name] for name in eval_results.USED},
        "sampling": {key: sampling.get(key) for key in eval_results.SAMPLING},
    }


def _messages(source: SampledSource, item: dict[str, Any]) -> list[dict[str, Any]]:
    """What a model is asked about an item."""
    how = source.input_messages
    if how is not None and not isinstance(how, ItemReference):
        return list(fill_messages(how.template, {"item": item}))
    value: Any = item
    for step in ("item.input" if how is None else how.item_reference).split(".")[1:]:
        if not isinstance(value, dict) or step not in value:
            raise VariableError("invalid_variable_error")
        value = value[step]
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not all(_is_turn(one) for one in value):
        raise UsageError("the item's messages are not a list of turns with role and content.")
    return value


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and "content" in value


async def _judge(
    exchange: _Exchange,
    workspace: Workspace,
    graders: list[Criterion],
    item: dict[str, Any],
    sample: dict[str, Any],
) -> dict[str, Any]:
    """The outcome of an item that has an answer."""
    names = {"item": item, "sample": sample}
    results = [await _grade(exchange, workspace, one, names) for one in graders]
    status = "pass" if all(one["passed"] for one in results) else "fail"
    if any((one["sample"] or {}).get("error") in _NOT_ITS_FAULT for one in results):
        status = "error"
    # What the text says as JSON is left out: it may be as deep as can be read, and stands in lines.
    kept = {name: value for name, value in sample.items() if name != "output_json"}
    return {"datasource_item": item, "sample": kept, "results": results, "status": status}


async def _grade(
    exchange: _Exchange, workspace: Workspace, criterion: Criterion, names: Mapping[str, Any]
) -> dict[str, Any]:
    """What one criterion says."""

    def embed(texts: Sequence[str]) -> Vectors:
        return workspace.embedder(STARTER).encode(texts)

    said: dict[str, Any] = {}
    try:
        if isinstance(criterion, MODEL_CRITERIA):
            messages = fill_messages(criterion.input, names)
            completion = await exchange.judge(criteria.judge_body(criterion, messages))
            said["output_text"] = completion["choices"][0]["message"].get("content") or ""
            result = criteria.read_judgement(criterion, said["output_text"])
        elif isinstance(criterion, PythonCriterion):
            if exchange.request.app.state.trust_code:
                result = await anyio.to_thread.run_sync(
                    criteria.grade_by_code,
                    criterion,
                    names,
                    exchange.code,
                    limiter=_limiter(_code_threads),
                )
            else:  # the run is another server's, or older
                result = Grade(0.0, False, "python_grader_server_error")
                said["message"] = NO_CODE
        else:
            result = await anyio.to_thread.run_sync(
                criteria.grade,
                criterion,
                names,
                embed,
                exchange.compared,
                limiter=_limiter(_comparison_threads),
            )
            exchange.compared = result.compared
    except VariableError as error:
        result = Grade(0.0, False, str(error))
    except _UnansweredError as error:
        result = Grade(0.0, False, "model_grader_server_error")
        said["message"] = error.read()["message"]
    except CodeError as error:  # what code says of an item is nothing for the log
        result = Grade(0.0, False, "python_grader_runtime_error")
        said["message"] = error.what
    except ConfinementError as error:
        result = Grade(0.0, False, "python_grader_server_error")
        said["message"] = error.what
        log.error("code of a criterion: %s", error)
    except AssayError as error:
        result = Grade(0.0, False, "other_error")
        said["message"] = of_assay(error).message
    if result.error is not None:
        said["error"] = result.error
    return {
        "name": criterion.name,
        "type": criterion.type,
        "passed": result.passed,
        "score": result.score,
        "sample": said or None,
    }


def _limiter(kind: RunVar[CapacityLimiter]) -> CapacityLimiter:
    limiter = kind.get(None)
    if limiter is None:
        limiter = CapacityLimiter(_AT_ONCE)
        kind.set(limiter)
    return limiter
