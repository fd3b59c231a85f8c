"""Fine-tuning by request: what may be asked for here, and by whom.

    tuning = create(workspace, "support", TuningRequest(model=..., training_file=...), who="key_1")
    tuning = ask(workspace, "support", tuning.id, "pause", who="key_1")

What was asked for is looked at with `assay.jobs.fine_tuning`.
"""

from __future__ import annotations

import secrets
import time

from assay.candidates.shared.reward_judge import check_judges, judges_of
from assay.data.json_schema import check_references, schema_validator
from assay.errors import ConfigError, UsageError
from assay.evaluate import rewards
from assay.jobs import fine_tuning
from assay.jobs.fine_tuning import FineTuning, Wish
from assay.jobs.tuning_request import LARGEST_SEED, MOST_JUDGES, ReinforcementMethod, TuningRequest
from assay.project.answer.names import base_models
from assay.project.jobs.requests import RefusedError, find_file
from assay.project.workspace import Workspace
from assay.store.audit import audit
from assay.store.tables import ServedNameRow

PURPOSE = "fine-tune"
"""Of files to train on."""
PAUSE_SECONDS = 10.0
"""So long a pause is waited for before it is said that the job still runs."""


def create(workspace: Workspace, project: str, request: TuningRequest, who: str) -> FineTuning:
    """Queue a fine-tuning.

    Raises:
        RefusedError: it cannot be done here.
        QuotaError: the project has all that it may have of the disk.
    """
    _check_method(request)
    if request.reinforcement is not None:
        _check_reward(workspace, project, request.reinforcement)
    _check_model(workspace, project, request.model)
    for param, id in (
        ("training_file", request.training_file),
        ("validation_file", request.validation_file),
    ):
        if id is not None:
            find_file(workspace, project, id, PURPOSE, param)
    workspace.quota.check(project, 1)  # what it will make has no size yet
    seed = secrets.randbelow(LARGEST_SEED) if request.seed is None else request.seed
    id = fine_tuning.create(workspace.store, project, request, seed)
    audit(workspace.store, project, who, "fine_tuning.create", id, {"model": request.model})
    return fine_tuning.find(workspace.store, project, id)


def ask(workspace: Workspace, project: str, id: str, wish: Wish, who: str) -> FineTuning:
    """Cancel, pause or resume a job, see `assay.jobs.fine_tuning.ask`.

    To pause it, its worker is waited for a moment.
    """
    tuning = fine_tuning.ask(workspace.store, project, id, wish)
    audit(workspace.store, project, who, f"fine_tuning.{wish}", id)
    end = time.monotonic() + (PAUSE_SECONDS if wish == "pause" else 0.0)
    while tuning.status in ("running", "validating_files") and time.monotonic() < end:
        time.sleep(0.1)
        tuning = fine_tuning.find(workspace.store, project, id)
    return tuning


def _check_method(request: TuningRequest) -> None:
    if request.method is not None and request.hyperparameters is not None:
        raise RefusedError(
            "hyperparameters are given both in the request and in its method.",
            "hyperparameters",
            "invalid_value",
            "Give them in the method only.",
        )
    if request.integrations:
        raise RefusedError(
            "Weights & Biases is not supported: nothing is sent to other servers.",
            "integrations",
            "unsupported_integration",
            "Leave it out; the events and the result file contain the same figures.",
        )


def check_grader(workspace: Workspace, project: str, grader: rewards.Grader, param: str) -> None:
    """Refuse a grader by which no job could learn.

    Args:
        param: the field of the request that has it.

    Raises:
        RefusedError: see `rewards.check` and `check_judges`, or it asks too many models, or one
            that is not of this machine.
    """
    try:
        rewards.check(grader, judged=True)
        check_judges(grader)
    except UsageError as error:
        raise RefusedError(error.what, param, "invalid_grader", error.fix) from None
    judges = judges_of(grader)
    if len({part.model for part in judges}) > MOST_JUDGES:
        raise RefusedError(
            f"the grader asks more than {MOST_JUDGES} models.",
            param,
            "invalid_grader",
            "Let one model answer several of its parts.",
        )
    for part in judges:
        if not _is_judge(workspace, project, part.model):
            raise RefusedError(
                f"the grader {part.name} asks {part.model}, which is not a model of this machine.",
                param,
                "model_not_found",
                "GET /v1/models lists base models and fine-tuned ones. A reward that asks a "
                "provider's model is set in a project's assay.yaml.",
            )


def _check_reward(workspace: Workspace, project: str, method: ReinforcementMethod) -> None:
    where = "method.reinforcement"
    check_grader(workspace, project, method.grader, f"{where}.grader")
    if method.response_format is None:
        return
    schema = method.response_format.json_schema.schema_
    try:
        schema_validator(schema, "response_format")
        check_references(schema, "response_format")
    except ConfigError as error:
        raise RefusedError(error.what, f"{where}.response_format", "invalid_schema") from None


def _is_judge(workspace: Workspace, project: str, model: str) -> bool:
    """Whether a model can be asked by a job: what a request names is neither sent away nor put into
    an agent's prompt."""
    return model in base_models(workspace, project) or _is_tuned(workspace, project, model)


def _is_tuned(workspace: Workspace, project: str, model: str) -> bool:
    """Whether a model has come of a fine-tuning of the project."""
    with workspace.store.session() as session:
        row = session.get(ServedNameRow, model)
    return row is not None and row.project == project


def _check_model(workspace: Workspace, project: str, model: str) -> None:
    if model in base_models(workspace, project):
        return
    if _is_tuned(workspace, project, model):
        raise RefusedError(
            f"{model} is a fine-tuned version, and training cannot continue from one yet.",
            "model",
            "unsupported_model",
            "Train its base model on all the examples.",
        )
    raise RefusedError(
        f"the model {model} does not exist or cannot be fine-tuned.",
        "model",
        "model_not_found",
        "GET /v1/models shows which models are trainable.",
    )
