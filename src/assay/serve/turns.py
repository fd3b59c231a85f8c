"""What a response goes on from, and whether and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from fastapi import Request

from assay.accounts.keys import Caller
from assay.defaults import StoreResponses
from assay.errors import NotFoundError
from assay.example import Message
from assay.serve.errors import ApiError, invalid
from assay.serve.items import MessageItem, join_turns, message_of
from assay.serve.responses_request import ResponseRequest
from assay.store import conversations, stored_responses
from assay.store.conversations import NoRoomError, Owner
from assay.store.store import Store
from assay.store.stored_responses import StoredResponse


@dataclass
class Turn:
    """One request and what came before it.

    Attributes:
        before: items, the oldest first.
        input: the request's own, as they are kept.
        conversation: id of the one that it belongs to.
        is_stored: the response is kept, or is to be.
    """

    store: Store
    owner: Owner
    before: list[dict[str, Any]]
    input: list[dict[str, Any]]
    previous: StoredResponse | None
    conversation: str | None
    is_stored: bool

    def to_messages(self, body: ResponseRequest) -> list[Message]:
        """All that is said to the model; instructions are the request's own."""
        said = [message_of(item) for item in self.before]
        turns = [Message("system", body.instructions)] if body.instructions else []
        return [*turns, *join_turns([*said, *body.to_messages()])]

    async def keep(self, response: dict[str, Any]) -> None:
        """Keep a response that is over, where it is to be kept."""
        if self.is_stored or self.conversation is not None:
            self.is_stored = await anyio.to_thread.run_sync(self._keep, response)

    def _keep(self, response: dict[str, Any]) -> bool:
        return stored_responses.keep(
            self.store,
            self.owner,
            response,
            self.input,
            previous=self.previous,
            conversation=self.conversation,
        )


def owner_of(caller: Caller) -> Owner:
    """Whose responses and conversations a caller may see: its key's; all of the project's, if it
    is an admin's."""
    return Owner(caller.project, caller.key_id, caller.may("admin"))


async def open_turn(request: Request, caller: Caller, body: ResponseRequest) -> Turn:
    """Find what a request goes on from.

    Raises:
        ApiError, AssayError: there is no such thing, or no room to keep what would come.
    """
    if body.previous_response_id is not None and body.conversation is not None:
        raise ApiError(
            400,
            "Mutually exclusive parameters. Ensure you are only providing one of: "
            "'previous_response_id' or 'conversation'.",
            code="mutually_exclusive_parameters",
        )
    policy: StoreResponses = request.app.state.store_responses
    is_stored = body.store is True or (body.store is None and policy == "unless-refused")
    turn = Turn(
        store=request.app.state.workspace.store,
        owner=owner_of(caller),
        before=[],
        input=[],
        previous=None,
        conversation=body.conversation_id,
        is_stored=is_stored and policy != "never",
    )
    if turn.is_stored or body.previous_response_id is not None or turn.conversation is not None:
        await anyio.to_thread.run_sync(_look_up, turn, body)
    return turn


def _look_up(turn: Turn, body: ResponseRequest) -> None:
    store, owner = turn.store, turn.owner
    turn.input = _input_of(body)
    items, bytes = 0, 0
    if body.previous_response_id is not None:
        turn.previous = previous = _find_previous(store, owner, body.previous_response_id)
        turn.before = stored_responses.items_until(store, previous)
        items, bytes = previous.chain_items, previous.chain_bytes
    if turn.conversation is not None:
        found = conversations.find(store, owner, turn.conversation)
        turn.before = conversations.all_items(store, owner, found.id)
        items, bytes = found.items, found.bytes
    if turn.is_stored or turn.conversation is not None:
        more = conversations.size_of(body.model_dump(mode="json", exclude_none=True))
        try:
            conversations.check_room(store, owner.project, len(turn.input), more, items, bytes)
        except NoRoomError:
            if body.store or turn.conversation is not None:
                raise
            turn.is_stored = False  # nobody has asked for it


def _input_of(body: ResponseRequest) -> list[dict[str, Any]]:
    if isinstance(body.input, str):
        return [MessageItem(role="user", content=body.input).to_kept()]
    return [item.to_kept() for item in body.input]


def _find_previous(store: Store, owner: Owner, id: str) -> StoredResponse:
    param = "previous_response_id"
    try:
        found = stored_responses.find(store, owner, id)
    except NotFoundError:
        message = f"Previous response with id '{id}' not found. A response is kept if its request "
        message += "says `store: true`."
        raise ApiError(400, message, code="previous_response_not_found", param=param) from None
    if found.conversation is not None:
        what = f"{id} belongs to the conversation {found.conversation}: send that as 'conversation'"
        raise invalid(f"{what}.", param)
    return found
