"""What a response goes on from, and whether and where it is kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from fastapi import Request

from assay.accounts.keys import Caller, owner_of
from assay.chat.response_items import join_turns, message_of
from assay.defaults import StoreResponses
from assay.errors import AssayError, NotFoundError
from assay.example import Message
from assay.serve.errors import ApiError, invalid
from assay.serve.items import MessageItem, without_logprobs
from assay.serve.responses_request import ResponseRequest
from assay.store import conversations, stored_responses
from assay.store.conversations import NoRoomError, Owner, TooLongError
from assay.store.store import Store
from assay.store.stored_responses import StoredResponse

log = logging.getLogger("assay.serve")


@dataclass
class Turn:
    """One request and what came before it.

    Attributes:
        before: items, the oldest first.
        input: the request's own, as they are kept; none where nothing is kept or gone on from.
        conversation: id of the one that question and answer are to be in.
        is_stored: the response is to be kept so that it can be found. Once it is over, both say
            what became of it.
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
        """Keep a response that is over, where it is to be kept; that it cannot be takes no answer
        from its client."""
        if self.is_stored or self.conversation is not None:
            output = [without_logprobs(item) for item in response["output"]]
            kept = {**response, "output": output}
            if not await anyio.to_thread.run_sync(self._keep, kept):
                self.is_stored, self.conversation = False, None

    def _keep(self, response: dict[str, Any]) -> bool:
        try:
            return stored_responses.keep(
                self.store,
                self.owner,
                response,
                self.input,
                previous=self.previous,
                conversation=self.conversation,
            )
        except AssayError as error:
            log.error("the response %s could not be kept: %s", response["id"], error)
            return False


def check_policy(request: Request) -> None:
    """See that conversations may be written to.

    Raises:
        ApiError: the server keeps nothing.
    """
    if request.app.state.store_responses == "never":
        raise ApiError(
            403,
            "This server keeps no completions, responses and conversations "
            "(--store-responses never).",
            "permission_error",
            "not_stored_here",
        )


async def open_turn(request: Request, caller: Caller, body: ResponseRequest) -> Turn:
    """Find what a request goes on from.

    Raises:
        ApiError, AssayError: there is no such thing, or no room to keep what would come, or
            nothing may be added to conversations.
    """
    if body.previous_response_id is not None and body.conversation is not None:
        raise ApiError(
            400,
            "Mutually exclusive parameters. Ensure you are only providing one of: "
            "'previous_response_id' or 'conversation'.",
            code="mutually_exclusive_parameters",
        )
    if body.conversation is not None:
        check_policy(request)
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
    """Find what came before; whether it is too long is known before any of it is read."""
    store, owner = turn.store, turn.owner
    turn.input = _input_of(body)
    items, bytes = len(turn.input), conversations.size_of(turn.input)
    if body.previous_response_id is not None:
        turn.previous = previous = _find_previous(store, owner, body.previous_response_id)
        items, bytes = items + previous.chain_items, bytes + previous.chain_bytes
    if turn.conversation is not None:
        found = conversations.find(store, owner, turn.conversation)
        items, bytes = items + found.items, bytes + found.bytes
    conversations.check_length(items)
    if turn.is_stored or turn.conversation is not None:
        try:
            conversations.check_length(items, bytes)
            more = conversations.size_of(body.model_dump(mode="json", exclude_none=True))
            conversations.check_room(store, owner.project, more)
        except (NoRoomError, TooLongError):
            if body.store or turn.conversation is not None:
                raise
            turn.is_stored = False  # nobody has asked for it
    if turn.previous is not None:
        turn.before = _read_until(store, turn.previous)
    if turn.conversation is not None:
        turn.before = conversations.all_items(store, owner, turn.conversation)


def _input_of(body: ResponseRequest) -> list[dict[str, Any]]:
    if isinstance(body.input, str):
        return [MessageItem(role="user", content=body.input).to_kept()]
    return [item.to_kept() for item in body.input]


def _find_previous(store: Store, owner: Owner, id: str) -> StoredResponse:
    try:
        found = stored_responses.find(store, owner, id)
    except NotFoundError:
        raise _no_previous(id) from None
    if found.conversation is not None:
        what = f"{id} belongs to the conversation {found.conversation}: send that as 'conversation'"
        raise invalid(f"{what}.", "previous_response_id")
    return found


def _read_until(store: Store, previous: StoredResponse) -> list[dict[str, Any]]:
    try:
        return stored_responses.items_until(store, previous)
    except NotFoundError:  # deleted, and erased, since it was found
        raise _no_previous(previous.id) from None


def _no_previous(id: str) -> ApiError:
    message = f"Previous response with id '{id}' not found. A response is kept if its request "
    message += "says `store: true`."
    param = "previous_response_id"
    return ApiError(400, message, code="previous_response_not_found", param=param)
