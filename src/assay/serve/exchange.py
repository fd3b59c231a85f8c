"""One request to a model and its answers, as routes read them: whole, or item by item."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from assay.accounts.keys import Caller
from assay.chat.tool_text import find_calls
from assay.errors import ModelError
from assay.example import ToolCall
from assay.generate.stream import End, Piece
from assay.project.answer.gateway import Answering, Gateway, SchemaError
from assay.serve.conversation import ConversationRequest
from assay.serve.errors import ApiError
from assay.serve.metrics import Metrics
from assay.serve.streams import Item, MergedStreams, unless_gone

_T = TypeVar("_T")


@dataclass(slots=True)
class Choice:
    """One answer as it grows."""

    pieces: list[Piece] = field(default_factory=list)
    end: End | None = None

    @property
    def text(self) -> str:
        """All that has come of it so far."""
        return "".join(piece.text for piece in self.pieces)

    async def parsed(self, tools: Sequence[dict[str, Any]]) -> tuple[str, tuple[ToolCall, ...]]:
        """Text and calls, which an engine tells beside the text or in it."""
        if self.end is not None and self.end.calls:
            return self.text, self.end.calls
        return await run_in_threadpool(find_calls, self.text, tools) if tools else (self.text, ())


class Exchange:
    """A request under way.

    Attributes:
        id: of the answer, `chatcmpl-...`; traces and feedback know it by this.
        created: seconds since 1970.
        fingerprint: equal where the same model and agent answer.
        choices: what has come so far, by number; those of one prompt side by side.

    Args:
        is_whole: nobody reads before the answers are whole.
    """

    def __init__(
        self, request: Request, answering: Answering, prefix: str, *, is_whole: bool
    ) -> None:
        self._request, self._answering, self._is_whole = request, answering, is_whole
        self.id = f"{prefix}{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.model = answering.target.name
        self.fingerprint = answering.fingerprint
        self.choices = [Choice() for _ in answering.streams]
        starts = [partial(iter, stream) for stream in answering.streams]
        self._items = MergedStreams(starts, is_whole=is_whole)
        self._first: tuple[int, Item] | None = None

    async def wait(self) -> None:
        """Wait for a stream's first token: what goes wrong before it has a status of its own."""
        if self._is_whole:
            return
        try:
            self._first = await self.unless_gone(anext(self._items))
        except StopAsyncIteration:
            raise ModelError("the model's engine was closed before it answered.") from None

    async def items(self) -> AsyncIterator[tuple[int, Item]]:
        """Pieces and ends as they come; they are kept in `choices`, too.

        Raises:
            ModelError: an answer without an end.
        """
        if self._first is not None:
            self._keep(*self._first)
            yield self._first
        async for number, item in self._items:
            self._keep(number, item)
            yield number, item
        if any(choice.end is None for choice in self.choices):
            raise ModelError("the answer broke off before its end.")
        metrics: Metrics = self._request.app.state.metrics
        model = self._answering.target.known_as
        if (first_at := self._items.first_at) is not None:
            metrics.first_token(model, first_at - self._answering.started_at)
        metrics.tokens(model, self.usage())

    async def all(self) -> list[Choice]:
        """Every answer, whole.

        Raises:
            ClientGoneError: nobody waits for it any more.
        """

        async def read() -> None:
            async for _ in self.items():
                pass

        await self.unless_gone(read())
        return self.choices

    async def unless_gone(self, work: Awaitable[_T]) -> _T:
        """The result of `work`; all is closed when the client hangs up, or it fails."""
        try:
            return await unless_gone(self._request, work)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the answers that are under way: nobody reads on."""
        self._items.close()
        self._answering.settle(is_complete=False)

    def usage(self) -> dict[str, int | None]:
        """Tokens, once all has come, see `Answering.usage`."""
        return self._answering.usage()

    async def trace(self, answers: Sequence[tuple[str, Sequence[ToolCall]]]) -> None:
        """Tell those who keep traces text and calls of each answer."""
        if self._answering.is_traced:
            await run_in_threadpool(self._answering.trace, self.id, answers)

    def _keep(self, number: int, item: Item) -> None:
        choice = self.choices[number]
        if isinstance(item, End):
            choice.end = item
        else:
            choice.pieces.append(item)


async def begin(
    request: Request,
    open: Callable[[], Answering],
    prefix: str,
    *,
    is_whole: bool,
    is_quick: bool = False,
) -> Exchange:
    """Open the answers, and wait for the first token, unless they are read whole.

    Args:
        open: of the gateway.
        prefix: of the exchange's id.
        is_quick: see `Gateway.is_quick`.
    """
    answering = open() if is_quick else await run_in_threadpool(open)
    exchange = Exchange(request, answering, prefix, is_whole=is_whole)
    await exchange.wait()
    return exchange


async def converse(
    request: Request, caller: Caller, body: ConversationRequest, prefix: str
) -> Exchange:
    """Begin the answers to a conversation.

    Raises:
        ApiError, AssayError: it cannot be answered.
    """
    gateway: Gateway = request.app.state.gateway
    messages, options = body.to_messages(), body.options()
    opened = partial(
        gateway.open, caller, body.model, messages, options, body.offered_tools(), body.count
    )
    is_quick = gateway.is_quick(caller, body.model, options)
    try:
        return await begin(request, opened, prefix, is_whole=not body.stream, is_quick=is_quick)
    except SchemaError as error:
        form = "tools" if body.is_call_forced() else body.FORM
        what = f"Invalid value for '{form}': {error.what}"
        raise ApiError(400, what, code="invalid_value", param=form) from None
