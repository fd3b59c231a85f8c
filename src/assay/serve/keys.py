"""`/v1/keys` and `/v1/audit`: who may do what in the caller's project, and who has changed what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field, field_validator

from assay.accounts.keys import (
    LONGEST_NAME,
    ApiKey,
    Caller,
    create_key,
    list_keys,
    revoke_key,
)
from assay.accounts.scopes import Scope
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.errors import forbidden
from assay.serve.route import JsonRoute, Strict
from assay.store.audit import entries

router = APIRouter(tags=["admin"], route_class=JsonRoute)

_Admin = Annotated[Caller, Depends(RequiredScope("admin"))]


class KeyRequest(Strict):
    """A key of the caller's project."""

    name: Annotated[
        str, Field(min_length=1, max_length=LONGEST_NAME, description="What the key is used for.")
    ]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20, fail_fast=True)]
    labels: Annotated[
        list[str] | None,
        Field(
            min_length=1,
            max_length=100,
            fail_fast=True,
            description="The key sees only documents with one of these labels.",
        ),
    ] = None

    @field_validator("name")
    @classmethod
    def _can_be_shown(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("it has characters that are not printable")
        return value


@router.post("/v1/keys")
def create(workspace: ServedWorkspace, body: KeyRequest, caller: _Admin) -> dict[str, Any]:
    """Create a key; `key` is shown only once. A key with a budget cannot create keys."""
    if caller.budgeted:
        raise forbidden("This key has a budget; it cannot create keys, which would have none.")
    made, secret = create_key(
        workspace.store,
        caller.project,
        body.name,
        body.scopes,
        caller.key_id,
        labels=body.labels,
    )
    return {**_wire(made), "key": secret}


@router.get("/v1/keys")
def list_(workspace: ServedWorkspace, caller: _Admin) -> dict[str, Any]:
    """List the project's keys without their secrets, oldest first."""
    found = list_keys(workspace.store, caller.project)
    return {"object": "list", "data": [_wire(key) for key in found]}


@router.delete("/v1/keys/{id}")
def revoke(workspace: ServedWorkspace, id: str, caller: _Admin) -> dict[str, Any]:
    """Revoke a key; it stops working within a second."""
    return _wire(revoke_key(workspace.store, id, caller.key_id, caller.project))


@router.get("/v1/audit")
def audit(
    workspace: ServedWorkspace,
    caller: _Admin,
    after: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """List who changed what in the project, newest first, beginning after the entry `after`."""
    found = entries(workspace.store, caller.project, limit + 1, after)
    return {
        "object": "list",
        "data": [
            {
                "id": row.key,
                "object": "audit.entry",
                "created_at": int(row.at.timestamp()),
                "who": row.who,
                "action": row.action,
                "what": row.what,
                "details": row.details,
            }
            for row in found[:limit]
        ],
        "has_more": len(found) > limit,
    }


def _wire(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "object": "key",
        "project": key.project,
        "name": key.name,
        "hint": key.hint,
        "scopes": list(key.scopes),
        "labels": None if key.labels is None else list(key.labels),
        "created_at": int(key.created.timestamp()),
        "revoked_at": int(key.revoked.timestamp()) if key.revoked else None,
    }
