"""`/v1/responses/{id}`: responses that were kept (`assay.serve.responses` makes them)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from assay.accounts.keys import Caller, owner_of
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.errors import ApiError, invalid
from assay.serve.files import After, Limit, page_of
from assay.serve.route import JsonRoute
from assay.store import stored_responses
from assay.store.conversations import Order

router = APIRouter(tags=["responses"], route_class=JsonRoute)

_Caller = Annotated[Caller, Depends(RequiredScope("chat"))]


@router.get("/v1/responses/{id}")
def retrieve(
    workspace: ServedWorkspace,
    id: str,
    caller: _Caller,
    stream: bool = False,
    starting_after: int | None = None,
) -> dict[str, Any]:
    """Show a response that was stored."""
    if stream or starting_after is not None:
        param = "stream" if stream else "starting_after"
        raise invalid("A response is streamed while it is made, not afterwards.", param)
    return stored_responses.find(workspace.store, owner_of(caller), id).body


@router.delete("/v1/responses/{id}")
def delete(workspace: ServedWorkspace, id: str, caller: _Caller) -> dict[str, Any]:
    """Delete a stored response. Responses that go on from it still do."""
    stored_responses.remove(workspace.store, owner_of(caller), id)
    return {"id": id, "object": "response", "deleted": True}


@router.post("/v1/responses/{id}/cancel")
def cancel(workspace: ServedWorkspace, id: str, caller: _Caller) -> dict[str, Any]:
    """Refused: no response is made in the background."""
    stored_responses.find(workspace.store, owner_of(caller), id)
    raise ApiError(400, "Cannot cancel a synchronous response.", code="invalid_state")


@router.get("/v1/responses/{id}/input_items")
def input_items(
    workspace: ServedWorkspace,
    id: str,
    caller: _Caller,
    after: After = None,
    limit: Limit = 20,
    order: Order = "desc",
) -> dict[str, Any]:
    """List the items that a response was made from, those of earlier responses among them; of one
    in a conversation, only those of its own request."""
    store = workspace.store
    found = stored_responses.find(store, owner_of(caller), id)
    items = stored_responses.items_until(store, found)
    items = items[: len(items) - len(found.body["output"])]
    return page_of(items, "item", after, limit, order)
