"""`/v1/files`: what clients upload and jobs make."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from assay.accounts.keys import Caller
from assay.accounts.quota import Quota
from assay.project.jobs import batches
from assay.project.jobs.requests import check_readable
from assay.project.knowledge import vector_stores
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.errors import ApiError, invalid, not_found
from assay.serve.forms import (
    check_filename,
    describe_form,
    parse_lifetime,
    read_chunks,
    read_form,
    read_text,
)
from assay.store import stored_files
from assay.store.audit import audit
from assay.store.conversations import Order
from assay.store.stored_files import FILE_BYTES, MOST_LISTED, StoredFile

router = APIRouter(tags=["files"])

PURPOSES = ("fine-tune", "batch", "evals", "assistants", "user_data")
"""Each leads somewhere: trainings, batches, evals, vector stores. Pictures are not read here."""

After = Annotated[str | None, Query(max_length=100)]
"""The id that a page of a list begins behind."""
Limit = Annotated[int, Query(ge=1, le=100)]
"""Of a page."""

_Owner = Annotated[Caller, Depends(RequiredScope("files"))]

_FORM = describe_form(
    "file",
    ["file", "purpose"],
    **{
        "purpose": {"type": "string", "enum": list(PURPOSES)},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer"},
    },
)


@router.post("/v1/files", openapi_extra=_FORM)
async def upload(request: Request, workspace: ServedWorkspace, caller: _Owner) -> dict[str, Any]:
    """Upload a file of at most 512 MB."""
    store = workspace.store
    async with read_form(request, "file", caller) as (fields, file):
        purpose = check_purpose(read_text(fields, "purpose"))
        name = check_filename(file.filename)
        expiry = {
            key: value
            for key in ("anchor", "seconds")
            if (value := read_text(fields, f"expires_after[{key}]")) is not None
        }
        seconds = parse_lifetime(expiry)
        if file.size is not None and file.size > FILE_BYTES:
            raise ApiError(
                413,
                f"The file is larger than {FILE_BYTES // 2**20} MB; use /v1/uploads instead.",
                code="file_too_large",
                param="file",
            )

        def keep() -> StoredFile:
            source = read_chunks(file.file)
            return stored_files.keep(
                store, caller.project, source, name, purpose, lifetime_s=seconds
            )

        kept = await anyio.to_thread.run_sync(keep)
    return as_wire(kept)


@router.get("/v1/files")
def list_(
    workspace: ServedWorkspace,
    caller: _Owner,
    purpose: Annotated[str | None, Query(max_length=40)] = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = MOST_LISTED,
    order: Order = "desc",
) -> dict[str, Any]:
    """List the files of the project."""
    found, more = stored_files.files(
        workspace.store,
        caller.project,
        purpose=purpose,
        after=after,
        limit=limit,
        newest_first=order == "desc",
    )
    return make_page([as_wire(file) for file in found], more)


@router.get("/v1/storage")
def storage(workspace: ServedWorkspace, caller: _Owner) -> dict[str, Any]:
    """The disk space that the project uses, and its limit, in bytes."""
    quota: Quota = workspace.quota
    used = quota.storage(caller.project)
    return {"object": "storage", **asdict(used), "total": used.total, "most": quota.most}


@router.get("/v1/files/{id}")
def retrieve(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Describe a file without its content."""
    return as_wire(stored_files.find(workspace.store, caller.project, id))


@router.get("/v1/files/{id}/content", response_class=FileResponse)
def content(workspace: ServedWorkspace, id: str, caller: _Owner) -> FileResponse:
    """Download the content of a file; of an eval's run over what was stored, with the key that has
    created it or the scope `admin`, over traces with the scope `traces`."""
    store = workspace.store
    file = stored_files.find(store, caller.project, id)
    check_readable(workspace, caller, file.scope, "file.read", id)
    held = ExitStack()
    path = held.enter_context(stored_files.on_disk(store, file))
    return _HeldFile(held, path, file.filename)


class _HeldFile(FileResponse):
    """A file that is kept on disk until it was sent, or whoever asked for it has gone."""

    def __init__(self, held: ExitStack, path: Path, filename: str) -> None:
        super().__init__(path, media_type="application/octet-stream", filename=filename)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As a response."""
        with self._held:
            await super().__call__(scope, receive, send)


@router.delete("/v1/files/{id}")
def delete(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Delete a file, also from vector stores. Models trained on it are kept; a batch that is not
    over keeps it from being deleted."""
    store = workspace.store
    stored_files.find(store, caller.project, id)
    batches.check_unread(workspace, caller.project, id)
    vector_stores.forget_file(workspace, caller.project, id, caller.key_id)
    stored_files.remove(store, caller.project, id)
    audit(store, caller.project, caller.key_id, "file.delete", id)
    return {"id": id, "object": "file", "deleted": True}


def check_purpose(purpose: str | None) -> str:
    """One that OpenAI's files may have.

    Raises:
        ApiError: it is none, or there is none.
    """
    if purpose not in PURPOSES:
        what = (
            "Missing required parameter"
            if purpose is None
            else f"'{purpose[:40]}' is not a valid value"
        )
        raise invalid(
            f"{what}: 'purpose'. It is one of: {', '.join(PURPOSES)}.",
            "purpose",
            "missing_required_parameter" if purpose is None else "invalid_value",
        )
    return purpose


def as_wire(file: StoredFile) -> dict[str, Any]:
    """A file as OpenAI's file object."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created.timestamp()),
        "expires_at": int(file.expires.timestamp()) if file.expires else None,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def page_of(
    items: list[dict[str, Any]], what: str, after: str | None, limit: int, order: Order
) -> dict[str, Any]:
    """A page of a list that is at hand as a whole.

    Args:
        items: the oldest first.
        what: one of them, in words.

    Raises:
        ApiError: none has the id `after`.
    """
    ordered = items if order == "asc" else items[::-1]
    start = 0
    if after is not None:
        start = next((n for n, one in enumerate(ordered, 1) if one["id"] == after), 0)
        if not start:
            raise not_found(what, after, "after")
    return make_page(ordered[start : start + limit], len(ordered) > start + limit)


def make_page(lines: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    """A page of a list, with the ids that the next one is asked for by."""
    return {
        "object": "list",
        "data": lines,
        "first_id": lines[0]["id"] if lines else None,
        "last_id": lines[-1]["id"] if lines else None,
        "has_more": more,
    }
