"""`/v1/uploads`: files that come in parts."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from pydantic import Field, StringConstraints

from assay.accounts.keys import Caller
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.errors import ApiError
from assay.serve.files import as_wire as file_as_wire
from assay.serve.files import check_purpose
from assay.serve.forms import check_filename, describe_form, parse_lifetime, read_chunks, read_form
from assay.serve.route import JsonRoute, Strict
from assay.store import uploads
from assay.store.uploads import PART_BYTES, UPLOAD_BYTES, Upload

router = APIRouter(tags=["uploads"], route_class=JsonRoute)

_Owner = Annotated[Caller, Depends(RequiredScope("files"))]

_FORM = describe_form("data", ["data"])


class UploadRequest(Strict):
    """The file that will come."""

    bytes: Annotated[int, Field(gt=0, le=UPLOAD_BYTES)]
    filename: str
    mime_type: Annotated[str, StringConstraints(max_length=200)]
    purpose: str
    expires_after: Annotated[dict[str, Any], Field(max_length=4)] | None = None


class UploadCompletion(Strict):
    """The parts in their order."""

    part_ids: Annotated[list[str], Field(min_length=1, max_length=10_000, fail_fast=True)]
    md5: Annotated[str, StringConstraints(pattern="^[0-9A-Fa-f]{32}$")] | None = None


@router.post("/v1/uploads")
def create(workspace: ServedWorkspace, body: UploadRequest, caller: _Owner) -> dict[str, Any]:
    """Begin an upload; it expires after an hour."""
    workspace.quota.check(caller.project, body.bytes)
    made = uploads.create(
        workspace.store,
        caller.project,
        check_filename(body.filename),
        check_purpose(body.purpose),
        body.bytes,
        parse_lifetime(body.expires_after),
    )
    return as_wire(made)


@router.post("/v1/uploads/{id}/parts", openapi_extra=_FORM)
async def add_part(
    request: Request, workspace: ServedWorkspace, id: str, caller: _Owner
) -> dict[str, Any]:
    """Add a part of at most 64 MB; parts can be sent in any order and in parallel."""
    store = workspace.store
    await anyio.to_thread.run_sync(uploads.find, store, caller.project, id)
    async with read_form(request, "data", caller) as (_, file):
        if file.size is not None and file.size > PART_BYTES:
            raise ApiError(
                413,
                f"A part has at most {PART_BYTES // 2**20} MB.",
                code="part_too_large",
                param="data",
            )
        part = await anyio.to_thread.run_sync(
            lambda: uploads.add_part(store, caller.project, id, read_chunks(file.file))
        )
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": int(part.created.timestamp()),
        "upload_id": part.upload,
    }


@router.post("/v1/uploads/{id}/complete")
def complete(
    workspace: ServedWorkspace, id: str, body: UploadCompletion, caller: _Owner
) -> dict[str, Any]:
    """Complete an upload: its parts become a file."""
    upload = uploads.find(workspace.store, caller.project, id)
    with workspace.quota.room(caller.project, upload.bytes):
        return as_wire(
            uploads.complete(workspace.store, caller.project, id, body.part_ids, body.md5)
        )


@router.post("/v1/uploads/{id}/cancel")
def cancel(workspace: ServedWorkspace, id: str, caller: _Owner) -> dict[str, Any]:
    """Cancel an upload that is not complete."""
    return as_wire(uploads.cancel(workspace.store, caller.project, id))


def as_wire(upload: Upload) -> dict[str, Any]:
    """An upload as OpenAI's upload object."""
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": int(upload.created.timestamp()),
        "expires_at": int(upload.expires.timestamp()),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": file_as_wire(upload.file) if upload.file else None,
    }
