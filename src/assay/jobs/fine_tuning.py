"""Fine-tunings as they are kept: created, looked at, stopped; the work itself is `tuning_work.py`.

    id = create(store, "support", request, seed=1)
    tuning = find(store, "support", id)
    tuning.status                  # as OpenAI names it

A fine-tuning is one job of the queue. It waits first as `CHECK`, whose worker looks at the files
and hands it on as `TRAIN`; so a bad file is told at once, however long another training takes.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select

from assay.errors import NotFoundError, StateError
from assay.jobs import queue
from assay.jobs.events import JobEvent
from assay.jobs.queue import OVER, Job
from assay.jobs.tuned_models import MADE
from assay.jobs.tuning_request import TuningRequest
from assay.store.object_place import objects_of
from assay.store.store import Store
from assay.store.tables import (
    FineTuningCheckpointRow,
    FineTuningRow,
    JobEventRow,
    JobRow,
    ServedNameRow,
)

CHECK = "fine-tune-check"
TRAIN = "fine-tune"
Wish = Literal["cancel", "pause", "resume"]
_DIGITS = string.digits + string.ascii_letters
_ORGANISATION = 40  # letters of a project's name in a model's


@dataclass(frozen=True, slots=True)
class FineTuning:
    """One fine-tuning.

    Attributes:
        seed: asked for, or drawn when it was created.
        chosen: `batch_size`, `n_epochs`, `learning_rate_multiplier` and `beta` (dpo) as numbers,
            once the files were checked; and `settings`, all that the trainer was given.
        finish: when it will probably be done; None unless it runs.
        error: `code`, `message` and `param`; None unless it has failed.
        result: `model` (its name), `version`, `result_file`, `trained_tokens`; None until it has
            succeeded.
    """

    id: str
    project: str
    request: TuningRequest
    seed: int
    status: str
    created: datetime
    ended: datetime | None
    chosen: dict[str, Any] | None
    finish: datetime | None
    error: dict[str, Any] | None
    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TuningCheckpoint:
    """The weights after an epoch, served as the model `name`."""

    id: str
    job: str
    step: int
    name: str
    version: str
    metrics: dict[str, Any]
    at: datetime


def create(store: Store, project: str, request: TuningRequest, seed: int) -> str:
    """Queue a fine-tuning; returns its id."""
    id = queue.new_id("ftjob")
    body = request.model_dump(mode="json")
    row = FineTuningRow(id=id, project=project, request=body | {"seed": seed})
    return queue.enqueue(store, project, CHECK, {"model": request.model}, id=id, rows=[row])


def find(store: Store, project: str, id: str) -> FineTuning:
    """A fine-tuning of a project.

    Raises:
        NotFoundError: there is none of that id in it.
    """
    with store.session() as session:
        row = session.scalar(
            select(FineTuningRow).where(FineTuningRow.id == id, FineTuningRow.project == project)
        )
        if row is None:
            raise NotFoundError(f"no such fine-tuning job: {id}")
    return _tuning(row, queue.read(store, id))


def tunings(
    store: Store,
    project: str,
    *,
    after: str | None = None,
    limit: int = 20,
    metadata: Mapping[str, str] | None = None,
) -> tuple[list[FineTuning], bool]:
    """Fine-tunings of a project, the newest first, and whether there are more.

    Args:
        after: id of one; those behind it (older ones) are listed.
        metadata: keys and values that those listed have; an empty one: that have none.

    Raises:
        NotFoundError: there is no fine-tuning `after`.
    """
    query = (
        select(FineTuningRow, JobRow)
        .join(JobRow, JobRow.id == FineTuningRow.id)
        .where(FineTuningRow.project == project)
        .order_by(FineTuningRow.key.desc())
    )
    found: list[FineTuning] = []
    with store.session() as session:
        if after is not None:
            mark = session.scalar(
                select(FineTuningRow.key).where(
                    FineTuningRow.id == after, FineTuningRow.project == project
                )
            )
            if mark is None:
                raise NotFoundError(f"no such fine-tuning job: {after}")
            query = query.where(FineTuningRow.key < mark)
        for row, job in session.execute(query):
            own = row.request.get("metadata") or {}
            if metadata is not None and own != ({**own, **metadata} if metadata else {}):
                continue
            if len(found) == limit:
                return found, True
            found.append(_tuning(row, job.convert(Job)))
    return found, False


def ask(store: Store, project: str, id: str, wish: Wish) -> FineTuning:
    """Cancel it, pause it after the step at hand, or queue a paused one again.

    It counts as cancelled at once, though its worker may need a moment to hear of it; it is
    `paused` when the worker has stopped, and goes on from its checkpoint.

    Raises:
        NotFoundError: there is none of that id in the project.
        StateError: it is over; it is paused already, or not paused where it is to be resumed.
    """
    status = find(store, project, id).status
    if wish == "resume":
        if status != "paused":
            raise StateError(f"the job {id} is {status}, not paused.")
        queue.resume(store, id)
    elif status in OVER:
        raise StateError(f"the job {id} is over ({status}).")
    elif (wish, status) == ("pause", "paused"):
        raise StateError(f"the job {id} is already paused.")
    else:
        queue.ask(store, id, wish)
    return find(store, project, id)


def events(
    store: Store, project: str, id: str, *, after: int | None = None, limit: int = 20
) -> tuple[list[JobEvent], bool]:
    """What happened to it, the newest first, and whether there is more.

    Args:
        after: key of an event; those behind it (older ones) are listed.

    Raises:
        NotFoundError: there is none of that id in the project.
    """
    find(store, project, id)
    query = select(JobEventRow).where(JobEventRow.job == id).order_by(JobEventRow.key.desc())
    if after is not None:
        query = query.where(JobEventRow.key < after)
    with store.session() as session:
        rows = session.scalars(query.limit(limit + 1)).all()
    return [row.convert(JobEvent) for row in rows[:limit]], len(rows) > limit


def checkpoints(
    store: Store, project: str, id: str, *, after: str | None = None, limit: int = 10
) -> tuple[list[TuningCheckpoint], bool]:
    """Its checkpoints that are kept, the newest first, and whether there are more.

    Raises:
        NotFoundError: there is none of that id in the project, or no checkpoint `after`.
    """
    find(store, project, id)
    kept = FineTuningCheckpointRow
    query = select(kept).where(kept.job == id).order_by(kept.step.desc())
    with store.session() as session:
        if after is not None:
            mark = session.scalar(select(kept.step).where(kept.id == after, kept.job == id))
            if mark is None:
                raise NotFoundError(f"no such checkpoint: {after}")
            query = query.where(kept.step < mark)
        rows = session.scalars(query.limit(limit + 1)).all()
    return [row.convert(TuningCheckpoint) for row in rows[:limit]], len(rows) > limit


def model_name(tuning: FineTuning, step: int | None = None) -> str:
    """`ft:<base>:<organisation>:<suffix>:<id>`, and `:ckpt-step-N` for a checkpoint."""
    number = int.from_bytes(hashlib.sha256(tuning.id.encode()).digest()[:8], "big")
    short = ""
    for _ in range(8):
        number, digit = divmod(number, len(_DIGITS))
        short += _DIGITS[digit]
    name = f"ft:{tuning.request.model}:{organisation(tuning.project)}:{tuning.request.slug}:{short}"
    return name if step is None else f"{name}:ckpt-step-{step}"


def organisation(project: str) -> str:
    """A project as it stands in a model's name."""
    return re.sub(r"[^a-z0-9-]+", "-", project.lower()).strip("-")[:_ORGANISATION] or "default"


def served_name(tuning: FineTuning, version: str, step: int | None = None) -> ServedNameRow:
    """The row that makes a version answer to its name."""
    return ServedNameRow(
        name=model_name(tuning, step), project=tuning.project, target=f"version:{version}"
    )


def check_machine(store: Store, id: str) -> None:
    """See that this machine has what a fine-tuning needs and no job brings: else the job would fail
    for what another machine has.

    Raises:
        NotFoundError: there is no such fine-tuning.
        ObjectsError: the files cannot be reached.
        ModelError: the base model cannot be had.
    """
    from assay.models.show import describe

    tuning = find(store, queue.read(store, id).project, id)
    objects_of(store)
    describe(tuning.request.model)


def work_folder(store: Store, id: str) -> Path:
    """Where a fine-tuning keeps what it needs until it is over."""
    return store.folder / "work" / id


def sweep(store: Store) -> None:
    """Remove what fine-tunings have left that are over."""
    for folder in (store.folder / "work").glob("ftjob-*"):
        try:
            over = queue.read(store, folder.name).status in OVER
        except NotFoundError:
            over = True
        if over:
            shutil.rmtree(folder, ignore_errors=True)


def _tuning(row: FineTuningRow, job: Job) -> FineTuning:
    request = TuningRequest.model_validate(row.request)
    assert request.seed is not None
    chosen = row.chosen and {key: row.chosen[key] for key in row.chosen if key != MADE}
    error = None
    if job.status == "failed":
        error = {"code": "server_error", "param": None} | (row.error or {})
        error["message"] = job.error
    return FineTuning(
        id=row.id,
        project=row.project,
        request=request,
        seed=request.seed,
        status=_status(job),
        created=job.created,
        ended=job.ended,
        chosen=chosen,
        finish=row.finish if job.status == "running" else None,
        error=error,
        result=job.result if job.status == "succeeded" else None,
    )


def _status(job: Job) -> str:
    if job.status == "running" and job.wish == "cancel":
        return "cancelled"  # it can no longer succeed, see `queue.finish`
    if job.kind == CHECK and job.status in ("queued", "running"):
        return "validating_files"
    return job.status
