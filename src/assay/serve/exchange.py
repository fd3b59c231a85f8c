"""One request to a model, from its name to the last token: what every way of asking shares."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from assay.accounts.costs import calls_of, is_remote
from assay.agent.answering import EngineCall, GenerationOptions, Routed, ServedExchange, Target
from assay.chat.tool_text import find_calls
from assay.errors import AssayError, ConfigError, ModelError
from assay.example import Message, ToolCall
from assay.generate.constrained import check_schema
from assay.generate.stream import End, Piece, Sampling
from assay.project.answer.gateway import Account, Payer, lay_out
from assay.project.answer.names import resolve
from assay.project.workspace import Workspace
from assay.serve.auth import Caller
from assay.serve.errors import ApiError
from assay.serve.metrics import Metrics
from assay.serve.streams import Interleaved, Item, Start, unless_gone

_T = TypeVar("_T")
log = logging.getLogger("assay.serve")


@dataclass(slots=True)
class Choice:
    """One answer as it grows."""

    pieces: list[Piece] = field(default_factory=list)
    end: End | None = None

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(piece.text for piece in self.pieces)

    async def said(self, tools: Sequence[dict[str, Any]]) -> tuple[str, tuple[ToolCall, ...]]:
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
        choices: what has come so far, by number; those of one prompt (`each` of them) side by side.

    Args:
        account: what they cost.
        whole: nobody reads before the answers are whole.
    """

    def __init__(
        self,
        request: Request,
        caller: Caller,
        served: Target,
        starts: Sequence[Start],
        prefix: str,
        asked: Sequence[Message],
        each: int,
        tools: Sequence[dict[str, Any]] = (),
        account: Account | None = None,
        whole: bool = False,
    ) -> None:
        self.request, self.caller, self.served = request, caller, served
        self.id = f"{prefix}{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.fingerprint = fingerprint(served)
        self.choices = [Choice() for _ in starts]
        self.messages, self.tools = tuple(asked), tuple(tools)
        self._each = each
        self._whole = whole
        self._items = Interleaved(starts, whole=whole)
        self._first: tuple[int, Item] | None = None
        self._began = time.perf_counter()
        self._account = account

    async def begin(self) -> None:
        """Wait for a stream's first token: what goes wrong before it has a status of its own."""
        if self._whole:
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
        if (first_at := self._items.first_at) is not None:
            self._metrics.first_token(self.served.known_as, first_at - self._began)
        self._metrics.tokens(self.served.known_as, self.usage())
        self._settle(whole=True)

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
            return await unless_gone(self.request, work)
        except BaseException as error:
            # The only answer failed before its first token, and nobody asks money for that call.
            begun = any(choice.pieces or choice.end for choice in self.choices)
            free = self._first is None and not begun and len(self.choices) == 1
            if free and isinstance(error, AssayError) and not error.charged:
                self._settle(whole=True)
            self.close()
            raise

    def close(self) -> None:
        """Nobody reads on."""
        self._items.close()
        self._settle(whole=False)

    def usage(self) -> dict[str, int | None]:
        """Tokens, once all has come; the prompt of several answers counts once.

        What an engine does not count is None.
        """
        ends = [choice.end for choice in self.choices if choice.end is not None]
        prompts = [ends[i : i + self._each] for i in range(0, len(ends), self._each)]
        return {
            "prompt": _sum([_most([end.prompt_tokens for end in group]) for group in prompts]),
            "completion": _sum([end.completion_tokens for end in ends]),
            "cached": _sum([_most([end.cached_tokens for end in group]) for group in prompts]),
            "reasoning": _sum([end.reasoning_tokens for end in ends]),
        }

    @property
    def asked(self) -> tuple[str, ...]:
        """Ids of the agents that a route asked for the first answer, once it has come."""
        end = self.choices[0].end if self.choices else None
        return () if end is None else end.agents

    async def answered(self, answers: Sequence[tuple[str, Sequence[ToolCall]]]) -> None:
        """Tell those who keep traces; that they cannot write takes no answer from its client."""
        watchers = self._workspace.watching(self.served)
        if not watchers:
            return
        said = ServedExchange(
            id=self.id,
            project=self.caller.project,
            key_id=self.caller.key_id,
            served=self.served,
            messages=self.messages,
            tools=self.tools,
            answers=tuple((text, tuple(calls)) for text, calls in answers),
            prompt_tokens=self.usage()["prompt"],
            completion_tokens=self.usage()["completion"],
            seconds=time.perf_counter() - self._began,
            asked=self.asked,
            ends=self._ends,
        )
        for watch in watchers:
            try:
                await run_in_threadpool(watch, said)
            except Exception as error:
                log.error("the trace of %s could not be kept", self.id, exc_info=error)

    @property
    def _ends(self) -> tuple[End, ...]:
        """Of all calls of all answers, so far."""
        found = (choice.end for choice in self.choices if choice.end is not None)
        return tuple(end for one in found for end in calls_of(one))

    def _settle(self, *, whole: bool) -> None:
        if self._account is not None:
            self._account.settle(whole=whole)

    def _keep(self, number: int, item: Item) -> None:
        choice = self.choices[number]
        if isinstance(item, End):
            choice.end = item
        else:
            choice.pieces.append(item)

    @property
    def _metrics(self) -> Metrics:
        metrics: Metrics = self.request.app.state.metrics
        return metrics

    @property
    def _workspace(self) -> Workspace:
        workspace: Workspace = self.request.app.state.workspace
        return workspace


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _most(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if len(known) == len(counts) else None


def fingerprint(served: Target) -> str:
    """Short name of who answers, fit for `system_fingerprint`."""
    whole = served.agent.id if served.agent else served.model
    return f"fp_{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


async def converse(
    request: Request,
    caller: Caller,
    model: str,
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]],
    options: GenerationOptions,
    *,
    form: str,
    count: int = 1,
    prefix: str = "chatcmpl-",
    whole: bool = False,
) -> Exchange:
    """Find who answers, ask, and wait for the first token, unless the answer is read whole.

    Args:
        form: the field that a wished schema comes from, to be named where it cannot be enforced.
        count: answers wanted.
        prefix: of the exchange's id.
        whole: nobody reads before the answers are whole.

    Raises:
        ApiError, AssayError: it cannot be answered.
    """
    workspace: Workspace = request.app.state.workspace
    payer = Payer(caller.project, caller.key_id, caller.budgeted)

    def prepare() -> tuple[Target, tuple[EngineCall, ...], float | None]:
        """Who answers, what is asked, and the USD to set aside for it."""
        served = resolve(workspace, model, caller.project, caller.key_id)
        if options.schema is not None:
            _check(options.schema, form)
        laid = lay_out(
            workspace, served, messages, tools, options, payer, labels=caller.labels, count=count
        )
        return served, *laid

    # What needs no database and no work is done here: a thread takes longer to hand it to.
    mine = is_remote(model) and caller.project == workspace.name
    known = not caller.budgeted or workspace.usage.holds(caller.key_id)  # prices are loaded once
    if mine and known and options.schema is None and workspace.providers.at_hand(model):
        served, path, most = prepare()
    else:
        served, path, most = await run_in_threadpool(prepare)
    find = request.app.state.engines.engine
    seeded = [[replace(a, sampling=one) for one in several(a.sampling, count)] for a in path]
    routes = [Routed(find, calls) for calls in zip(*seeded, strict=True)]
    reserved = None
    if most is not None:
        reserved = workspace.usage.take(caller.key_id, most) or await run_in_threadpool(
            workspace.usage.reserve, caller.key_id, most
        )
    starts = [partial(iter, route) for route in routes]
    account = Account(workspace, payer, served.name, routes, reserved)
    exchange = Exchange(
        request, caller, served, starts, prefix, messages, count, tools, account, whole
    )
    await exchange.begin()
    return exchange


def several(sampling: Sampling, count: int) -> list[Sampling]:
    """The same wish for each of several answers, each with a seed of its own."""
    if sampling.seed is None:
        return [sampling] * count
    return [replace(sampling, seed=sampling.seed + number) for number in range(count)]


def _check(schema: dict[str, Any], form: str) -> None:
    try:
        check_schema(schema)
    except ConfigError as error:
        raise ApiError(
            400, f"Invalid value for '{form}': {error.what}", code="invalid_value", param=form
        ) from None
