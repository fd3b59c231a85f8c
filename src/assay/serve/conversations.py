"""`/v1/conversations`, as in https://platform.openai.com/docs/api-reference/conversations."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from assay.accounts.keys import Caller, owner_of
from assay.jobs.metadata import Metadata
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.files import After, Limit, make_page
from assay.serve.items import Item
from assay.serve.route import JsonRoute, Strict
from assay.serve.turns import check_policy
from assay.store import conversations
from assay.store.conversations import Conversation, Order

router = APIRouter(tags=["conversations"], route_class=JsonRoute)

MOST_AT_ONCE = 20
"""Items of one request, as with OpenAI."""
_Caller = Annotated[Caller, Depends(RequiredScope("chat"))]
_Items = Annotated[list[Item], Field(max_length=MOST_AT_ONCE, fail_fast=True)]


class NewConversation(Strict):
    """What a conversation begins with."""

    items: _Items | None = None
    metadata: Metadata | None = None


class ConversationChange(Strict):
    """Other metadata."""

    metadata: Metadata | None


class NewItems(Strict):
    """What is added."""

    items: Annotated[_Items, Field(min_length=1)]


@router.post("/v1/conversations")
def create(
    request: Request, workspace: ServedWorkspace, body: NewConversation, caller: _Caller
) -> dict[str, Any]:
    """Begin a conversation, which responses can be added to."""
    check_policy(request)
    items = [item.to_kept() for item in body.items or ()]
    more = conversations.size_of([items, body.metadata])
    store, owner = workspace.store, owner_of(caller)
    conversations.check_length(len(items), more)
    conversations.check_room(store, owner.project, more)
    return _wire(conversations.create(store, owner, body.metadata or {}, items))


@router.get("/v1/conversations/{id}")
def retrieve(workspace: ServedWorkspace, id: str, caller: _Caller) -> dict[str, Any]:
    """Describe a conversation without its items."""
    return _wire(conversations.find(workspace.store, owner_of(caller), id))


@router.post("/v1/conversations/{id}")
def change(
    request: Request,
    workspace: ServedWorkspace,
    id: str,
    body: ConversationChange,
    caller: _Caller,
) -> dict[str, Any]:
    """Replace the metadata of a conversation."""
    check_policy(request)
    return _wire(conversations.change(workspace.store, owner_of(caller), id, body.metadata or {}))


@router.delete("/v1/conversations/{id}")
def delete(workspace: ServedWorkspace, id: str, caller: _Caller) -> dict[str, Any]:
    """Delete a conversation with its items; responses that were stored in it stay."""
    conversations.remove(workspace.store, owner_of(caller), id)
    return {"id": id, "object": "conversation.deleted", "deleted": True}


@router.post("/v1/conversations/{id}/items")
def create_items(
    request: Request, workspace: ServedWorkspace, id: str, body: NewItems, caller: _Caller
) -> dict[str, Any]:
    """Add items to a conversation."""
    check_policy(request)
    items = [item.to_kept() for item in body.items]
    conversations.extend(workspace.store, owner_of(caller), id, items)
    return make_page(items, False)


@router.get("/v1/conversations/{id}/items")
def list_items(
    workspace: ServedWorkspace,
    id: str,
    caller: _Caller,
    after: After = None,
    limit: Limit = 20,
    order: Order = "desc",
) -> dict[str, Any]:
    """List the items of a conversation."""
    found, more = conversations.items_of(
        workspace.store, owner_of(caller), id, after=after, limit=limit, order=order
    )
    return make_page(found, more)


@router.get("/v1/conversations/{id}/items/{item_id}")
def retrieve_item(
    workspace: ServedWorkspace, id: str, item_id: str, caller: _Caller
) -> dict[str, Any]:
    """Show one item of a conversation."""
    return conversations.find_item(workspace.store, owner_of(caller), id, item_id)


@router.delete("/v1/conversations/{id}/items/{item_id}")
def delete_item(
    workspace: ServedWorkspace, id: str, item_id: str, caller: _Caller
) -> dict[str, Any]:
    """Take one item out of a conversation."""
    return _wire(conversations.remove_item(workspace.store, owner_of(caller), id, item_id))


def _wire(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": int(conversation.created.timestamp()),
        "metadata": conversation.client_metadata,
    }
