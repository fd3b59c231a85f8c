"""The one gateway: every answer that is given to anybody is opened here.

    gateway = Gateway(workspace, engines)
    answering = gateway.open(caller, "support", messages, options)
    for item in answering.streams[0]: ...           # pieces, and an end

The name is resolved, the calls are laid out, and the most that they may cost is set aside before
the first of them is made, where the caller has a budget. What providers' models have answered is in
the usage log when all has ended, whatever has become of it. Whether the project has agreed that a
request leaves this machine is asked where a provider's engine is found (`assay.agent.engines`), so
that no caller can go past it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from assay.accounts.costs import bounded, calls_of, has_budget, most_usd
from assay.accounts.keys import STUDIO, Caller
from assay.agent.answering import (
    EngineCall,
    GenerationOptions,
    RouteStream,
    ServedExchange,
    Target,
    prepare,
    sampling_of,
)
from assay.config import is_remote
from assay.errors import AssayError, ConfigError, UsageError
from assay.example import Message, ToolCall
from assay.generate.constrained import check_schema
from assay.generate.stream import End, EnginePool, Piece, Sampling
from assay.project.answer.charge import Charge
from assay.project.answer.names import resolve
from assay.project.workspace import Workspace

log = logging.getLogger("assay.serve")


class SchemaError(UsageError):
    """The schema that an answer is to follow cannot be enforced."""


class NotConversationError(UsageError):
    """A text cannot be continued as it is by what answers conversations."""


def studio_caller(workspace: Workspace) -> Caller:
    """Whoever asks in the studio: they share a budget (`assay keys budget studio`)."""
    budgeted = has_budget(workspace.store, STUDIO)
    return Caller(STUDIO, workspace.name, ("chat",), budgeted)


class Gateway:
    """Opens answers of a workspace.

    Args:
        engines: that give them, see `Workspace.engines`.
    """

    def __init__(self, workspace: Workspace, engines: EnginePool) -> None:
        self._workspace, self._engines = workspace, engines

    def is_quick(self, caller: Caller, name: str, options: GenerationOptions) -> bool:
        """Whether `open` does no work and needs no database: a thread would take longer."""
        usage = self._workspace.usage
        return (
            is_remote(name)
            and caller.project == self._workspace.name
            and (not caller.budgeted or usage.holds(caller.key_id))  # prices are loaded once
            and options.schema is None
            and self._workspace.providers.at_hand(name)
        )

    def resolve(self, caller: Caller, name: str) -> Target:
        """What answers for a name, see `names.resolve`."""
        return resolve(self._workspace, name, caller.project, caller.key_id)

    def open(
        self,
        caller: Caller,
        name: str | Target,
        messages: Sequence[Message],
        options: GenerationOptions,
        tools: Sequence[dict[str, Any]] = (),
        count: int = 1,
    ) -> Answering:
        """Answers to a conversation.

        Args:
            name: or what it stands for.
            count: of the answers; each has a seed of its own.

        Raises:
            UnknownModelError: there is no such name.
            SchemaError: the options' schema cannot be enforced.
            BudgetError: the caller has a budget, and a price is not known. More as `prepare`.
        """
        target = self.resolve(caller, name) if isinstance(name, str) else name
        if options.schema is not None:
            try:
                check_schema(options.schema)
            except ConfigError as error:
                raise SchemaError(error.what) from None
        store, most = self._workspace.store, None
        path = prepare(target, messages, tools, options, store, caller.project, caller.labels)
        if caller.budgeted:
            chains = [self._workspace.chain(call.model) for call in path]
            if any(is_remote(model) for chain in chains for model in chain):
                path = tuple(map(bounded, path))
                most = most_usd(self._workspace.providers, chains, path, count)
        paths = zip(*(_several(call, count) for call in path), strict=True)
        routes = [RouteStream(self._engines.engine, calls) for calls in paths]
        return Answering(self._workspace, caller, target, messages, tools, routes, count, most)

    def complete(
        self,
        caller: Caller,
        name: str,
        prompts: Sequence[str | Sequence[int]],
        options: GenerationOptions,
        count: int = 1,
    ) -> Answering:
        """Continuations of texts or token ids, `count` of each. Providers give none.

        Raises:
            UnknownModelError: there is no such name.
            NotConversationError: it stands for an agent.
        """
        target = self.resolve(caller, name)
        if target.agent is not None:
            raise NotConversationError(f"{name} answers conversations.")
        sampling = sampling_of(options, caller.project)
        calls = [EngineCall((), (), sampling, target.model, prompt=prompt) for prompt in prompts]
        find = self._engines.engine
        routes = [RouteStream(find, [one]) for call in calls for one in _several(call, count)]
        turns = [Message("user", prompt) for prompt in prompts if isinstance(prompt, str)]
        return Answering(self._workspace, caller, target, turns, (), routes, count)


def _several(call: EngineCall, count: int) -> list[EngineCall]:
    """The same call for each of several answers, each with a seed of its own."""
    seed = call.sampling.seed
    if seed is None:
        return [call] * count
    seeded: list[Sampling] = [replace(call.sampling, seed=seed + n) for n in range(count)]
    return [replace(call, sampling=sampling) for sampling in seeded]


class AnswerStream(Iterator[Piece | End]):
    """One answer as it grows. `close` may be called from any thread.

    Args:
        is_only: the request has no other answer.

    Attributes:
        end: None until it has ended.
    """

    def __init__(self, route: RouteStream, charge: Charge, *, is_only: bool) -> None:
        self.route, self._charge, self._is_only = route, charge, is_only
        self._is_asked = self._has_begun = False
        self.end: End | None = None

    @property
    def passages(self) -> str:
        """Of documents, as they stood before the question; "" where there were none."""
        return self.route.call.passages

    def __next__(self) -> Piece | End:
        if not self._is_asked:
            if not self._charge.reserve():
                raise StopIteration
            self._is_asked = True
        try:
            item = next(self.route)
        except BaseException as error:
            is_first = self._is_only and not self._has_begun
            self._finish(is_first and isinstance(error, AssayError) and not error.charged)
            raise
        self._has_begun = True
        if isinstance(item, End):
            self.end = item
            self._finish()
        return item

    def close(self) -> None:
        """Free the engine, and settle what the answer has cost."""
        try:
            self.route.close()
        finally:
            self._finish()

    def _finish(self, is_free: bool = False) -> None:
        self._charge.finish(self.route, is_complete=is_free or self.end is not None)


class Answering:
    """Answers under way, to one conversation or to several prompts.

    Nothing is asked, or set aside, before the first piece of a stream is read; each stream may be
    read in a thread of its own.

    Attributes:
        streams: those of one prompt side by side.
        started_at: `time.perf_counter`.
    """

    # Streams do not refer to it: in a circle, every request would wait for the garbage collector.
    def __init__(
        self,
        workspace: Workspace,
        caller: Caller,
        target: Target,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        routes: Sequence[RouteStream],
        count: int,
        most_usd: float | None = None,
    ) -> None:
        self._workspace, self.caller, self.target = workspace, caller, target
        self._messages, self._tools = tuple(messages), tuple(tools)
        self._charge = Charge(workspace, caller, target.name, routes, most_usd)
        is_only = len(routes) == 1
        self.streams = [AnswerStream(route, self._charge, is_only=is_only) for route in routes]
        self._count = count
        self.started_at = time.perf_counter()

    def settle(self, *, is_complete: bool) -> None:
        """Settle what the answers cost, see `Charge.settle`."""
        self._charge.settle(is_complete=is_complete)

    @property
    def fingerprint(self) -> str:
        """Short name of who answers, fit for `system_fingerprint`."""
        return fingerprint(self.target)

    def usage(self) -> dict[str, int | None]:
        """Tokens of those that have ended; the prompt of several answers counts once.

        What an engine does not count is None.
        """
        ends = [stream.end for stream in self.streams if stream.end is not None]
        prompts = [ends[i : i + self._count] for i in range(0, len(ends), self._count)]
        return {
            "prompt": _sum([_most([end.prompt_tokens for end in group]) for group in prompts]),
            "completion": _sum([end.completion_tokens for end in ends]),
            "cached": _sum([_most([end.cached_tokens for end in group]) for group in prompts]),
            "reasoning": _sum([end.reasoning_tokens for end in ends]),
        }

    @property
    def is_traced(self) -> bool:
        """Whether somebody is told what was answered, see `trace`."""
        return bool(self._workspace.watching(self.target))

    def trace(self, id: str, answers: Sequence[tuple[str, Sequence[ToolCall]]]) -> None:
        """Tell those who keep traces; that they cannot write takes no answer from its client.

        Args:
            id: what the client knows the answers by.
            answers: text and calls of each.
        """
        usage, first = self.usage(), self.streams[0].end
        ends = (stream.end for stream in self.streams if stream.end is not None)
        exchange = ServedExchange(
            id=id,
            project=self.caller.project,
            key_id=self.caller.key_id,
            target=self.target,
            messages=self._messages,
            tools=self._tools,
            answers=tuple((text, tuple(calls)) for text, calls in answers),
            prompt_tokens=usage["prompt"],
            completion_tokens=usage["completion"],
            seconds=time.perf_counter() - self.started_at,
            agents=() if first is None else first.agents,
            ends=tuple(end for one in ends for end in calls_of(one)),
        )
        for watch in self._workspace.watching(self.target):
            try:
                watch(exchange)
            except Exception as error:
                log.error("the trace of %s could not be kept", id, exc_info=error)


def fingerprint(target: Target) -> str:
    """Equal where the same model and agent answer: `fp_` and 16 hexadecimal digits."""
    whole = target.agent.id if target.agent else target.model
    return f"fp_{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _most(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if len(known) == len(counts) else None
