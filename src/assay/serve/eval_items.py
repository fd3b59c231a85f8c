"""One item of an eval's run: a model answers it, or it has an answer, and the criteria grade it.

The route stands in the app that answers the lines of batches and in no other: whoever asks it is a
run of this server (`assay.jobs.evals`). It asks models by the routes that clients ask.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response

from assay import json_reader
from assay.accounts.keys import Caller
from assay.errors import UsageError
from assay.evaluate import criteria
from assay.evaluate.criteria import JUDGED, Criterion, Grade, PythonCriterion
from assay.evaluate.rewards import VariableError, describe_sample
from assay.jobs import eval_results, evals
from assay.jobs.batches import EVAL_ITEMS
from assay.jobs.eval_request import ItemReference, RunRequest, SampledSource
from assay.models.embed import STARTER, Vectors
from assay.project.jobs.evals import CHAT, criteria_of
from assay.project.workspace import Workspace
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.batch_requests import LineReply, ask
from assay.serve.route import JsonObject, JsonRoute, Strict

router = APIRouter(route_class=JsonRoute)

_Owner = Annotated[Caller, Depends(RequiredScope("files"))]


class RunItem(Strict):
    """An item of the run `model`."""

    model: str
    item: JsonObject
    sample: JsonObject | None = None


class _UnansweredError(Exception):
    """A model has answered with an error."""

    def __init__(self, reply: LineReply) -> None:
        super().__init__()
        self.reply = reply


@dataclass
class _Exchange:
    """What was asked for one item, and by whom it was answered.

    Attributes:
        usage: tokens and calls by the name of the model.
    """

    request: Request
    caller: Caller
    usage: dict[str, Counter[str]] = field(default_factory=dict)

    async def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The completion that a model gives.

        Raises:
            _UnansweredError: it gives none.
        """
        raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        reply = await ask(self.request.app, self.caller, CHAT, raw)
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


@router.post(EVAL_ITEMS)
async def grade(
    request: Request, workspace: ServedWorkspace, body: RunItem, caller: _Owner
) -> Response:
    """Answer and grade an item. A model that is busy or away is told as such, and asked again."""
    exchange = _Exchange(request, caller)
    source, graders = await anyio.to_thread.run_sync(_plan, workspace, body.model)
    try:
        sample = await _sample(exchange, source, body)
        outcome = await _judge(exchange, workspace, graders, body.item, sample)
    except _UnansweredError as error:
        reply = error.reply
        if reply.pause_s(1, 2) is not None:
            headers = (
                {} if reply.retry_after_s is None else {"retry-after": str(reply.retry_after_s)}
            )
            return Response(reply.body, reply.status, headers, "application/json")
        told = json_reader.read(reply.body)["error"]
        outcome = eval_results.fail(body.item, told["code"], told["message"])
    except VariableError as error:
        message = "A variable of input_messages names what the item does not have."
        outcome = eval_results.fail(body.item, str(error), message)
    except UsageError as error:
        outcome = eval_results.fail(body.item, "invalid_item", str(error))
    outcome["usage"] = {name: dict(used) for name, used in exchange.usage.items()}
    return Response(json.dumps(outcome), media_type="application/json")


def sampling_body(source: SampledSource) -> dict[str, Any]:
    """The fields of a request to chat completions that a run's `sampling_params` ask for; those of
    responses are written otherwise there."""
    given = dict(source.sampling_params or {})
    if source.type == "responses":
        text = given.pop("text", None)
        form = text.get("format") if isinstance(text, dict) else None
        if isinstance(form, dict):
            schema = {key: value for key, value in form.items() if key != "type"}
            kind = form.get("type")
            more = {"json_schema": schema} if kind == "json_schema" else {}
            given["response_format"] = {"type": kind, **more}
        if isinstance(tools := given.get("tools"), list):
            given["tools"] = [
                {
                    "type": tool.get("type"),
                    "function": {key: value for key, value in tool.items() if key != "type"},
                }
                for tool in tools
                if isinstance(tool, dict)
            ]
    return given


@lru_cache(64)
def _plan(workspace: Workspace, run: str) -> tuple[SampledSource | None, list[Criterion]]:
    """What a run does with each item; neither changes. None: nobody is asked."""
    found, batch = evals.read_run(workspace.store, run)
    made = evals.find(workspace.store, batch.project, found.eval)
    source = RunRequest.model_validate({"data_source": found.data_source}).data_source
    if not isinstance(source, SampledSource) or source.model is None:
        return None, criteria_of(made)
    return source, criteria_of(made)


async def _sample(
    exchange: _Exchange, source: SampledSource | None, body: RunItem
) -> dict[str, Any]:
    """What `sample` stands for."""
    if source is None:
        sample = dict(body.sample or {})
        text = sample.get("output_text")
        return {**describe_sample(text), **sample} if isinstance(text, str) else sample
    messages = _messages(source, body.item)
    asked = {"model": source.model, "messages": messages, **sampling_body(source)}
    completion = await exchange.chat(asked)
    [choice] = completion["choices"][:1]
    answer = choice["message"]
    sample = describe_sample(answer.get("content") or "")
    if answer.get("tool_calls"):
        sample["output_tools"] = answer["tool_calls"]
    return {
        **sample,
        "model": completion["model"],
        "input": [{"role": turn["role"], "content": turn["content"]} for turn in messages],
        "finish_reason": choice["finish_reason"],
        "usage": exchange.usage[source.model or ""],
        "sampling": {key: asked.get(key) for key in _SAMPLING},
    }


_SAMPLING = ("temperature", "top_p", "seed", "max_completion_tokens")


def _messages(source: SampledSource, item: dict[str, Any]) -> list[dict[str, Any]]:
    """What a model is asked about an item."""
    how = source.input_messages
    if how is not None and not isinstance(how, ItemReference):
        return list(criteria.fill_messages(how.template, {"item": item}))
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
    def embed(texts: Sequence[str]) -> Vectors:
        return workspace.embedder(STARTER).encode(texts)

    names = {"item": item, "sample": sample}
    results: list[dict[str, Any]] = []
    for one in graders:
        told: dict[str, Any] = {}
        if isinstance(one, JUDGED):
            try:
                said = await exchange.chat(criteria.judge_body(one, names))
                text = said["choices"][0]["message"].get("content") or ""
                found, told = criteria.read_judgement(one, text), {"output_text": text}
            except VariableError as error:
                found = Grade(0.0, False, str(error))
        else:
            assert not isinstance(one, PythonCriterion)  # none is kept
            found = await anyio.to_thread.run_sync(criteria.grade, one, names, embed)
        if found.error is not None:
            told["error"] = found.error
        results.append(
            {
                "name": one.name,
                "type": one.type,
                "passed": found.passed,
                "score": found.score,
                "sample": told or None,
            }
        )
    status = "pass" if all(one["passed"] for one in results) else "fail"
    if any((one["sample"] or {}).get("error") in _NOT_ITS_FAULT for one in results):
        status = "error"
    return {"datasource_item": item, "sample": sample, "results": results, "status": status}


_NOT_ITS_FAULT = ("invalid_variable_error", "model_grader_parse_error")
"""Errors of a criterion that say nothing of the answer."""
