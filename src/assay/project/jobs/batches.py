"""Batches of requests: what may be asked for here, and by whom.

    batch = create(workspace, caller, BatchRequest(input_file_id=..., ...), lifetime_s=None)
    batch = cancel(workspace, "support", batch.id, who="key_1")

They are looked at with `assay.jobs.batches`; `assay.serve.batch_runner` answers them.
"""

from __future__ import annotations

from contextlib import suppress

from assay.accounts.keys import Caller
from assay.errors import NotFoundError, ObjectsError, StateError
from assay.jobs import batches
from assay.jobs.batches import Batch, BatchRequest
from assay.project.answer.names import UnknownModelError, embedders, resolve
from assay.project.jobs.requests import RefusedError, find_file
from assay.project.workspace import Workspace
from assay.store.audit import audit

MOST_BYTES = 200 * 10**6
"""Of a file of requests: OpenAI's limit."""
MOST_OPEN = 100
"""Batches of a project that are not over."""


def create(
    workspace: Workspace, caller: Caller, request: BatchRequest, lifetime_s: int | None
) -> Batch:
    """Queue a batch. What is in its file is looked at when it is taken up.

    Args:
        lifetime_s: of the files with its answers; None: for ever.

    Raises:
        RefusedError: it cannot be done here.
        QuotaError: the project has all that it may have of the disk.
    """
    store, project = workspace.store, caller.project
    file = find_file(
        workspace, project, request.input_file_id, batches.PURPOSE, "input_file_id", MOST_BYTES
    )
    if batches.count_open(store, project) >= MOST_OPEN:
        raise RefusedError(
            f"this project has {MOST_OPEN} batches that are not over.",
            "input_file_id",
            "too_many_batches",
            "Wait until some are over, or cancel them.",
        )
    workspace.quota.check(project, 1)  # what will be answered has no size yet
    id = batches.create(store, project, request, caller.key_id, lifetime_s)
    with suppress(NotFoundError, ObjectsError):  # whoever takes the batch up tries it again
        batches.link_input(store, batches.find(store, project, id))
    audit(store, project, caller.key_id, "batch.create", id, {"file": file.id})
    return batches.find(store, project, id)


def cancel(workspace: Workspace, project: str, id: str, who: str) -> Batch:
    """Cancel a batch, see `assay.jobs.batches.stop`.

    Raises:
        NotFoundError: there is none of that id in the project.
        BatchStateError: it is over.
    """
    batches.stop(workspace.store, batches.find(workspace.store, project, id))
    audit(workspace.store, project, who, "batch.cancel", id)
    return batches.find(workspace.store, project, id)


def check_unread(workspace: Workspace, project: str, file: str) -> None:
    """See that no batch still needs a file.

    Raises:
        StateError: one does.
    """
    if batches.count_readers(workspace.store, project, file):
        raise StateError(
            f"a batch reads the file {file}.", fix="Wait until it is over, or cancel it."
        )


def is_known(workspace: Workspace, caller: Caller, endpoint: str, model: str) -> bool:
    """Whether requests of an endpoint can be answered by a model of this name.

    Raises:
        AssayError: it cannot be told.
    """
    if endpoint == "/v1/embeddings":
        return model in embedders()
    try:
        resolve(workspace, model, caller.project, caller.key_id)
    except UnknownModelError:
        return False
    return True
