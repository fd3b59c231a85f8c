"""One request to a model and its answers, as routes read them: whole, or item by item."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from fastapi import Request

from assay.accounts.keys import Caller
from assay.errors import ModelError
from assay.example import Message
from assay.generate.stream import End, Piece
from assay.project.answer.answering import Answering, Conversation, Receipt
from assay.project.answer.gateway import SchemaError
from assay.serve.batch_requests import gateway_of
from assay.serve.conversation import ConversationRequest
from assay.serve.errors import ApiError
from assay.serve.metrics import Metrics
from assay.serve.streams import MergedStreams, unless_gone


class Exchange:
    """A request under way.

    Attributes:
        id: of the answer, `chatcmpl-...`; traces and feedback know it by this.
        created: seconds since 1970.
        answers: see `Answering`.
        model: the name that was asked for; "" before `wait`.
        fingerprint: equal where the same model and agent answer; likewise.

    Args:
        is_whole: nobody reads before the answers are whole.
    """

    def __init__(self, request: Request, answering: Answering, id: str, *, is_whole: bool) -> None:
        self._request, self._answering, self._is_whole = request, answering, is_whole
        self.id = id
        self.created = int(time.time())
        self.answers = answering.answers
        self.model = self.fingerprint = ""
        self._items = MergedStreams(answering.streams(), is_whole=is_whole)
        self._ahead: list[tuple[int, Piece | End]] = []

    @property
    def receipt(self) -> Receipt | None:
        """What all took; None until all have ended."""
        return self._items.receipt

    async def wait(self) -> None:
        """Wait for a stream's first item, or for whole answers: until then what goes wrong has a
        status of its own.

        Raises:
            ClientGoneError: nobody waits for it any more. More as `Gateway.open`.
        """
        try:
            await unless_gone(self._request, self._read_ahead())
            target = self._answering.target
            self.model, self.fingerprint = target.name, target.fingerprint
        except BaseException:
            self.close()
            raise

    async def _read_ahead(self) -> None:
        async for item in self._items:
            self._ahead.append(item)
            if not self._is_whole:
                return
        if self.receipt is None:
            raise _broken()

    async def items(self) -> AsyncIterator[tuple[int, Piece | End]]:
        """Pieces and ends as they come.

        Raises:
            ModelError: an answer without an end.
        """
        for ahead in self._ahead:
            yield ahead
        async for item in self._items:
            yield item
        if self.receipt is None:
            raise _broken()
        metrics: Metrics = self._request.app.state.metrics
        model = self._answering.target.known_as
        if (first_at := self._items.first_at) is not None and self._answering.is_live:
            metrics.observe_first_token(model, first_at - self._answering.started_at)
        metrics.count_tokens(model, self.receipt)

    def close(self) -> None:
        """End the answers that are under way: nobody reads on."""
        self._items.close()
        self._answering.close()


def _broken() -> ModelError:
    return ModelError("the answer ended early.")


async def begin(
    request: Request, open: Callable[[str], Answering], prefix: str, *, is_whole: bool
) -> Exchange:
    """Open the answers, and wait until they are whole, or for the first item of a stream.

    Args:
        open: of the gateway, for an id.
        prefix: of the exchange's id.
    """
    id = f"{prefix}{secrets.token_hex(12)}"
    exchange = Exchange(request, open(id), id, is_whole=is_whole)
    await exchange.wait()
    return exchange


async def converse(
    request: Request,
    caller: Caller,
    body: ConversationRequest,
    prefix: str,
    messages: Sequence[Message] | None = None,
) -> Exchange:
    """Begin the answers to a conversation.

    Args:
        messages: None: those of the body alone.

    Raises:
        ApiError, AssayError: it cannot be answered.
    """
    gateway = gateway_of(request)
    are_parallel = body.parallel_tool_calls is not False
    said = body.to_messages() if messages is None else messages
    conversation = Conversation(said, body.offered_tools(), are_parallel)
    open = partial(gateway.open, caller, body.model, conversation, body.options(), body.count)
    try:
        return await begin(request, open, prefix, is_whole=not body.stream)
    except SchemaError as error:
        form = "tools" if body.is_call_forced() else body.FORM
        what = f"Invalid value for '{form}': {error.what}"
        raise ApiError(400, what, code="invalid_value", param=form) from None
