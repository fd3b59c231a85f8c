"""Chat completions that are kept: `/v1/chat/completions` beside its `POST` (`assay.serve.chat`)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request

from assay.accounts.keys import Caller, owner_of
from assay.errors import AssayError
from assay.jobs.metadata import Metadata
from assay.serve.auth import RequiredScope, ServedWorkspace
from assay.serve.conversation import ConversationRequest
from assay.serve.errors import invalid
from assay.serve.files import After, Limit, make_page, page_of
from assay.serve.route import JsonRoute, Strict
from assay.serve.turns import check_policy
from assay.store import conversations, stored_completions
from assay.store.conversations import Order, Owner
from assay.store.store import Store
from assay.store.stored_completions import StoredCompletion

router = APIRouter(tags=["chat"], route_class=JsonRoute)
log = logging.getLogger("assay.serve")

MOST_FILTERS = 16
"""Pairs of metadata that a list may be chosen by, as many as a completion may have."""
_FILTER = re.compile(r"metadata\[([^\"\\]{1,64})\]")
_ASKED = {
    "temperature",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "response_format",
    "tools",
    "tool_choice",
}
_Caller = Annotated[Caller, Depends(RequiredScope("chat"))]


class CompletionChange(Strict):
    """Other metadata."""

    metadata: Metadata | None


@dataclass(frozen=True, slots=True)
class CompletionRecord:
    """Where a completion is kept once it is over.

    Attributes:
        messages: the conversation that it answers.
        asked: fields of the request that are shown beside the answer.
    """

    store: Store
    owner: Owner
    messages: list[dict[str, Any]]
    metadata: dict[str, str]
    asked: dict[str, Any]

    async def keep(self, completion: dict[str, Any]) -> None:
        """Keep it without log-probabilities; that it cannot be takes no answer from its client."""
        choices = [{**choice, "logprobs": None} for choice in completion["choices"]]
        kept = {**completion, **self.asked, "choices": choices}
        await anyio.to_thread.run_sync(self._keep, kept)

    def _keep(self, completion: dict[str, Any]) -> None:
        try:
            stored_completions.keep(
                self.store, self.owner, completion, self.messages, self.metadata
            )
        except AssayError as error:
            log.error("the completion %s could not be kept: %s", completion["id"], error)


async def open_record(
    request: Request, caller: Caller, body: ConversationRequest, messages: list[dict[str, Any]]
) -> CompletionRecord | None:
    """Where the answer to a request that says `store` is kept; None: the server keeps nothing.

    Raises:
        NoRoomError, TooLongError: there is no room for it.
    """
    if request.app.state.store_responses == "never":
        return None
    asked = body.model_dump(mode="json", by_alias=True, include=_ASKED)
    record = CompletionRecord(
        store=request.app.state.workspace.store,
        owner=owner_of(caller),
        messages=messages,
        metadata=body.metadata or {},
        asked={**asked, "input_user": body.user},
    )
    await anyio.to_thread.run_sync(_check_room, record)
    return record


def _check_room(record: CompletionRecord) -> None:
    bytes = conversations.size_of([record.messages, record.metadata, record.asked])
    conversations.check_length(len(record.messages), bytes)
    conversations.check_room(record.store, record.owner.project, bytes)


@router.get("/v1/chat/completions")
def list_completions(
    request: Request,
    workspace: ServedWorkspace,
    caller: _Caller,
    model: Annotated[str | None, Query(max_length=300)] = None,
    after: After = None,
    limit: Limit = 20,
    order: Order = "asc",
) -> dict[str, Any]:
    """List the completions that were stored, those with `metadata[key]=value` alone if it is
    given."""
    found, more = stored_completions.select_completions(
        workspace.store,
        owner_of(caller),
        model=model,
        metadata=_filters(request),
        after=after,
        limit=limit,
        order=order,
    )
    return make_page([_wire(one) for one in found], more)


def _filters(request: Request) -> dict[str, str]:
    given = [(k, v) for k, v in request.query_params.multi_items() if k.startswith("metadata")]
    named = [(_FILTER.fullmatch(name), value) for name, value in given[: MOST_FILTERS + 1]]
    wanted = {match[1]: value for match, value in named if match is not None}
    if len(given) > MOST_FILTERS or len(wanted) < len(given):
        raise invalid(
            f"Write metadata[key]=value, at most {MOST_FILTERS} times, each key once, of at most "
            "64 characters and without quotes and backslashes.",
            "metadata",
        )
    return wanted


@router.get("/v1/chat/completions/{id}")
def retrieve(workspace: ServedWorkspace, id: str, caller: _Caller) -> dict[str, Any]:
    """Show a completion that was stored."""
    return _wire(stored_completions.find(workspace.store, owner_of(caller), id))


@router.post("/v1/chat/completions/{id}")
def change(
    request: Request, workspace: ServedWorkspace, id: str, body: CompletionChange, caller: _Caller
) -> dict[str, Any]:
    """Replace the metadata of a stored completion."""
    check_policy(request)
    metadata = body.metadata or {}
    return _wire(stored_completions.change(workspace.store, owner_of(caller), id, metadata))


@router.delete("/v1/chat/completions/{id}")
def delete(workspace: ServedWorkspace, id: str, caller: _Caller) -> dict[str, Any]:
    """Delete a stored completion: it is found no more, and erased within ten minutes."""
    stored_completions.remove(workspace.store, owner_of(caller), id)
    return {"id": id, "object": "chat.completion.deleted", "deleted": True}


@router.get("/v1/chat/completions/{id}/messages")
def messages(
    workspace: ServedWorkspace,
    id: str,
    caller: _Caller,
    after: After = None,
    limit: Limit = 20,
    order: Order = "asc",
) -> dict[str, Any]:
    """List the messages that a stored completion answers."""
    found = stored_completions.find(workspace.store, owner_of(caller), id)
    said = [_wire_message(id, n, message) for n, message in enumerate(found.messages)]
    return page_of(said, "message", after, limit, order)


def _wire(found: StoredCompletion) -> dict[str, Any]:
    return {**found.body, "metadata": found.client_metadata}


def _wire_message(id: str, number: int, message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    in_parts = isinstance(content, list)
    return {
        **message,
        "id": f"{id}-{number}",
        "content": None if in_parts else content,
        "content_parts": content if in_parts else None,
    }
