"""Deleting models of fine-tuning jobs.

delete_model(workspace, "support", "ft:smollm2-135m-instruct:support:toy:a1", who="key_1")
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from assay.errors import StateError
from assay.jobs import tuned_models
from assay.jobs.queue import OVER
from assay.models.versions import REMOVAL, remove_version, version_id
from assay.project.answer.names import embedders, resolve
from assay.project.jobs.requests import RefusedError
from assay.project.versions import agents_of
from assay.project.workspace import Workspace
from assay.store.audit import record
from assay.store.tables import (
    BatchRow,
    EvalRow,
    EvalRunRow,
    FineTuningRow,
    JobRow,
    ServedNameRow,
)


def delete_model(workspace: Workspace, project: str, name: str, who: str) -> None:
    """Delete a model or checkpoint of a fine-tuning job, by its name.

    Its weights go with it where they have no other name, as those of the best checkpoint have.

    Raises:
        UnknownModelError: the project has no model of that name.
        RefusedError: it has, but of no fine-tuning job.
        StateError: it is in use.
    """
    store = workspace.store
    with store.session() as session:
        row = session.get(ServedNameRow, name)
        version = None if row is None else version_id(row.target)
    if row is None or row.project != project or version is None:
        if name not in embedders():
            resolve(workspace, name, project, who)
        raise RefusedError(
            f"{name} is not a model of a fine-tuning job. Only those can be deleted here.",
            "model",
            "unsupported_model",
        )
    with store.lock(REMOVAL):
        if (user := _find_user(workspace, project, name, version)) is not None:
            raise StateError(f"{name} is not deleted, because {user}.")
        with store.session() as session:
            is_needed = tuned_models.has_other_name(session, version, name)
        # The weights first: a kill between the two leaves a name that can be deleted once more. In
        # no transaction, see `remove_version` of a bucket.
        if not is_needed:
            remove_version(store, version)
        with store.session() as session:
            tuned_models.forget_name(session, name)
            record(session, project, who, "model.delete", name, {"version": version})


def _find_user(workspace: Workspace, project: str, name: str, version: str) -> str | None:
    """What needs a model, as the end of a sentence; None: nothing."""
    with workspace.store.session() as session:
        is_answering = tuned_models.has_agent(session, version)
        asker = _find_asker(session, project, name, version)
        maker = tuned_models.find_maker(session, version)
    if is_answering:
        labels = agents_of(workspace.store, version) if project == workspace.name else []
        named = f" ({', '.join(labels[:10])})" if labels else ""
        return f"agents answer with it{named}, and agents are kept"
    if asker is not None:
        return asker
    if maker is not None:
        return f"job {maker}, which is not over, has made these very weights: wait for it"
    settings = "" if workspace.config is None else workspace.config.model_dump_json()
    return "assay.yaml names it" if tuned_models.names_version(settings, version) else None


def _find_asker(session: Session, project: str, name: str, version: str) -> str | None:
    """`_find_user`, of batches, runs of evals and fine-tuning jobs that are not over."""
    batches = (
        select(BatchRow.id, BatchRow.model, EvalRunRow.data_source, EvalRow.request)
        .outerjoin(EvalRunRow, EvalRunRow.id == BatchRow.id)
        .outerjoin(EvalRow, EvalRow.id == EvalRunRow.eval)
        .where(BatchRow.project == project, BatchRow.outcome.is_(None))
        .order_by(BatchRow.key)
    )
    jobs = (
        select(FineTuningRow.id, FineTuningRow.request)
        .join(JobRow, JobRow.id == FineTuningRow.id)
        .where(FineTuningRow.project == project, JobRow.status.not_in(OVER))
    )
    askers: list[tuple[str, set[str | None]]] = []
    for id, model, source, evaluation in session.execute(batches):
        if source is None:
            askers.append((f"batch {id}", {model}))
        else:
            askers.append((f"the run {id}", {*_models_in(source), *_models_in(evaluation)}))
    askers += [(f"job {id}", {*_models_in(request)}) for id, request in session.execute(jobs)]
    for what, models in askers:
        if any(one == name or _is_id(one, version) for one in models if one is not None):
            return f"{what} asks it: wait for it, or cancel it"
        if None in models:
            return (
                f"{what} may ask it (it names several models, or is not checked yet): wait for it, "
                "or cancel it"
            )
    return None


def _models_in(body: Any) -> Iterator[str]:
    """The values of `model` in what a client has sent, wherever they stand."""
    if isinstance(body, list):
        for part in body:
            yield from _models_in(part)
    elif isinstance(body, dict):
        for key, part in body.items():
            if key == "model" and isinstance(part, str):
                yield part
            yield from _models_in(part)


def _is_id(model: str, version: str) -> bool:
    """Whether a request names a version by its id, or the first digits of that."""
    digits = model.removeprefix("version:")
    return len(digits) >= 6 and version.startswith(digits)
