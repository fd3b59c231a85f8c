"""`/v1/fine_tuning/alpha/graders`: one answer graded by a recipe, or the recipe looked at."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field

from assay.accounts.keys import Caller
from assay.errors import UsageError
from assay.evaluate import rewards
from assay.evaluate.rewards import Grader, Reward
from assay.evaluate.templates import LONGEST
from assay.models.embed import STARTER
from assay.project.jobs.fine_tuning import check_grader
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.errors import ApiError
from assay.serve.route import JsonObject, JsonRoute, Strict

router = APIRouter(tags=["graders"], route_class=JsonRoute)

_Owner = Annotated[Caller, Depends(RequiredScope("fine_tuning"))]
_Grader = Annotated[Grader, Field(discriminator="type")]

_ERRORS = (
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
)


class GraderCheck(Strict):
    """A grader to look at."""

    grader: _Grader


class GraderRun(GraderCheck):
    """A grader, and what it grades."""

    model_sample: Annotated[str, Field(max_length=LONGEST)]
    item: JsonObject | None = None


@router.post("/v1/fine_tuning/alpha/graders/validate")
def validate(workspace: ServedWorkspace, body: GraderCheck, caller: _Owner) -> dict[str, Any]:
    """Check whether a job can use the grader."""
    check_grader(workspace, caller.project, body.grader, "grader")
    return {"grader": body.grader.model_dump()}


@router.post("/v1/fine_tuning/alpha/graders/run")
def run(workspace: ServedWorkspace, body: GraderRun, caller: _Owner) -> dict[str, Any]:
    """Score one answer with a grader that asks no model."""
    try:
        rewards.check(body.grader, judged=False)
    except UsageError as error:
        raise ApiError(400, str(error), code="invalid_grader", param="grader") from None
    reward = rewards.run(
        body.grader,
        body.item or {},
        body.model_sample,
        lambda texts: workspace.embedder(STARTER).encode(texts),
    )
    return _as_wire(body.grader, reward)


def _as_wire(grader: Grader, reward: Reward) -> dict[str, Any]:
    return {
        "reward": reward.reward,
        "metadata": {
            "name": grader.name,
            "type": grader.type,
            "errors": {
                **{name: name in reward.errors for name in _ERRORS},
                "python_grader_server_error_type": None,
                "python_grader_runtime_error_details": None,
                "model_grader_server_error_details": None,
            },
            "execution_time": reward.seconds,
            "scores": reward.scores,
            "token_usage": None,
            "sampled_model_name": None,
        },
        "sub_rewards": reward.scores if grader.type == "multi" else {},
        "model_grader_token_usage_per_model": {},
    }
