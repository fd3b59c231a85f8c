"""Base models: which there are, what they take, and fetching one as a job.

for model in listed(): print(model.ref, model.ready, model.tuning_bytes)
job = pull(workspace, "smollm2-135m-instruct")
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from assay.errors import ModelError
from assay.jobs import pulling, queue
from assay.jobs.pulling import PULL
from assay.jobs.queue import Job
from assay.models import show
from assay.models.pull import check_name, names_file
from assay.models.show import ModelInfo, ModelListing, list_models
from assay.models.trust import header, weight_files
from assay.project.jobs.queueing import refuse_second
from assay.project.workspace import Workspace
from assay.store.audit import audit

_WEIGHT_BYTES = 4  # a fine-tuning holds the base in float32
_BESIDE_BYTES = 400_000_000
"""What a fine-tuning of short rows holds beside the base: adapter, activations, libraries."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A starter, or a model that was fetched.

    Attributes:
        disk_bytes: what it takes on disk, or would take.
        tuning_bytes: of memory that a fine-tuning of an adapter takes at the very least, about; a
            training says exactly before it begins. None: it is not fine-tuned.
    """

    ref: str
    kind: str
    ready: bool
    disk_bytes: int
    licence: str | None
    summary: str
    tuning_bytes: int | None
    folder: Path


def listed() -> list[BaseModel]:
    """The starters, then the other models in the cache, by name."""
    return [
        BaseModel(
            one.ref,
            one.kind,
            one.ready,
            one.disk_bytes,
            one.licence,
            one.summary,
            _tuning_bytes(one) if one.kind == "chat" else None,
            one.folder,
        )
        for one in list_models()
    ]


def describe(ref: str) -> ModelInfo:
    """All there is to say about a model of the list that is on this machine.

    Raises:
        ModelError: it is not here, or a file is not whole.
    """
    if not any(one.ref == ref and one.ready for one in list_models()):
        raise ModelError("this model is not on this machine.", where=ref, fix="Fetch it first.")
    return show.describe(ref)


def pull(workspace: Workspace, ref: str) -> Job:
    """Queue the fetching of a model; over the web, no file or folder of the server's machine.

    Raises:
        ModelError: nothing is called so, or it may not be named over the web.
        StateError: it is being fetched already.
    """
    if workspace.web and names_file(ref):
        raise ModelError(
            "this is neither a starter nor an id of the hub.",
            where=ref,
            fix="A hub id looks like org/name; a folder or file is named at the command line.",
        )
    check_name(ref)
    refuse_second(workspace, PULL, f"the fetching of {ref}", {"model": ref})
    id = pulling.enqueue(workspace.store, workspace.name, ref)
    audit(workspace.store, workspace.name, workspace.who, "model.pull", id, {"model": ref})
    return queue.read(workspace.store, id)


def pulls(workspace: Workspace) -> list[Job]:
    """The jobs that fetch models, the newest first."""
    return [job for job in queue.jobs(workspace.store, workspace.name) if job.kind == PULL]


def _tuning_bytes(model: ModelListing) -> int:
    weights = model.disk_bytes  # as float32, which a starter is unpacked to
    if model.ready:
        shapes = [t["shape"] for f in weight_files(model.folder) for t in header(f).values()]
        weights = _WEIGHT_BYTES * sum(math.prod(shape) for shape in shapes)
    return weights + _BESIDE_BYTES
