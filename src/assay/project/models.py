"""Base models: which there are, what they take, and fetching one as a job.

for model in list_base_models(): print(model.ref, model.ready, model.tuning_bytes)
job = pull(workspace, "smollm2-135m-instruct")
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from assay.errors import ModelError
from assay.jobs import queue
from assay.jobs.pulling import PULL
from assay.jobs.queue import Job
from assay.models import show
from assay.models.pull import check_name, names_file
from assay.models.show import ModelInfo, ModelListing, list_models
from assay.models.trust import header, weight_files
from assay.project.jobs.queueing import enqueue_once
from assay.project.workspace import Workspace

_WEIGHT_BYTES = 4  # a fine-tuning holds the base in float32
_BESIDE_BYTES = 400_000_000
"""What a fine-tuning of short rows holds beside the base: adapter, activations, libraries."""


@dataclass(frozen=True, slots=True)
class BaseModel(ModelListing):
    """A starter, or a model that was pulled.

    Attributes:
        tuning_bytes: of memory that a fine-tuning of an adapter takes at the very least, about; a
            training says exactly before it begins. None: it is not fine-tuned.
    """

    tuning_bytes: int | None


def largest_tuned(memory: int) -> int:
    """Parameters of the largest model whose fine-tuning fits in so many bytes, about."""
    return max(0, memory - _BESIDE_BYTES) // _WEIGHT_BYTES


def list_base_models() -> list[BaseModel]:
    """The starters, then the other models in the cache, by name."""
    return [
        BaseModel(**asdict(one), tuning_bytes=_tuning_bytes(one) if one.kind == "chat" else None)
        for one in list_models()
    ]


def describe(ref: str) -> ModelInfo:
    """All there is to say about a model of the list that is on this machine.

    Raises:
        ModelError: it is not here, or a file is not whole.
    """
    if not any(one.ref == ref and one.ready for one in list_models()):
        raise ModelError("this model is not on this machine.", where=ref, fix="Pull it first.")
    return show.describe(ref)


def pull(workspace: Workspace, ref: str) -> Job:
    """Queue the pulling of a model; over the web, no file or folder of the server's machine.

    Raises:
        ModelError: nothing is called so, or it may not be named over the web.
        StateError: it is being pulled already.
    """
    if workspace.web and names_file(ref):
        raise ModelError(
            "this is neither a starter nor the name of a model at huggingface.co.",
            where=ref,
            fix="Such a name has the form organisation/model; folders and files work only at the "
            "command line.",
        )
    check_name(ref)
    what, payload = f"the download of {ref}", {"model": ref}
    return enqueue_once(workspace, PULL, what, payload, action="model.pull", per_payload=True)


def pulls(workspace: Workspace) -> list[Job]:
    """The jobs that pull models, the newest first."""
    return queue.jobs(workspace.store, workspace.name, (PULL,))


def _tuning_bytes(model: ModelListing) -> int:
    weights = model.disk_bytes  # as float32, which a starter is unpacked to
    if model.ready:
        shapes = [t["shape"] for f in weight_files(model.folder) for t in header(f).values()]
        weights = _WEIGHT_BYTES * sum(math.prod(shape) for shape in shapes)
    return weights + _BESIDE_BYTES
