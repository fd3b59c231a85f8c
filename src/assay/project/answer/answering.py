"""The answers to one request while they are under way: asked, charged and traced as they are read.

    for item in answering.streams()[0]: ...             # pieces, an end, a receipt

Nothing is resolved, set aside or asked before a stream is read. Whoever reads does nothing else:
after the last answer's end the cost is settled and those who keep traces are told, and then comes
the receipt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from assay.accounts.charge import Charge
from assay.accounts.keys import Caller
from assay.agent.answering import RouteStream, ServedExchange, Target
from assay.chat.tool_text import Reader
from assay.errors import AssayError
from assay.example import Message, ToolCall
from assay.generate.stream import End, Piece


@dataclass(slots=True)
class Answer:
    """One answer as it grows.

    Attributes:
        pieces: as the engine gave them, calls of tools in their text included.
        end: None until it has ended.
        text: all of it, beside calls of tools; "" until it has ended.
        calls: of tools.
    """

    pieces: list[Piece] = field(default_factory=list)
    end: End | None = None
    text: str = ""
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The last item of a request whose answers have all ended: all is settled and traced.

    The prompt of several answers counts once. What an engine does not count is None.
    """

    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None


Item = Piece | End | Receipt


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is answered.

    Attributes:
        tools: that may be called.
        are_calls_parallel: an answer may call several.
    """

    messages: Sequence[Message]
    tools: Sequence[dict[str, Any]] = ()
    are_calls_parallel: bool = True


@dataclass(frozen=True, slots=True)
class Preparation:
    """A request that is laid out.

    Attributes:
        routes: one for each answer.
        machine_hour_usd: price of this machine; None: not known.
        trace: tells those who keep traces; None: nobody does.
        is_live: its answers are given now; else how long they take is not told.
    """

    target: Target
    routes: Sequence[RouteStream]
    charge: Charge
    machine_hour_usd: float | None = None
    trace: Callable[[ServedExchange], None] | None = None
    is_live: bool = True


class Answering:
    """Answers under way, to one conversation or to several prompts.

    Args:
        prepare: lays the request out; called once, by the first who reads.
        count: of the answers to one prompt.
        prompts: how many there are.
        id: what the client knows the answers by; None: no trace is kept.

    Attributes:
        answers: those of one prompt side by side; they grow while the streams are read.
        started_at: `time.perf_counter`.
    """

    # Streams refer to it, and it not to them: in a circle, every request would wait for the
    # garbage collector.
    def __init__(
        self,
        prepare: Callable[[], Preparation],
        conversation: Conversation,
        caller: Caller,
        *,
        count: int = 1,
        prompts: int = 1,
        id: str | None = None,
    ) -> None:
        self.started_at = time.perf_counter()
        self.answers = [Answer() for _ in range(count * prompts)]
        self._prepare, self._conversation = prepare, conversation
        self._caller, self._count, self._id = caller, count, id
        self._preparation: Preparation | None = None
        self._over: dict[int, bool] = {}
        self._is_closed = self._is_settled = False
        self._beginning = Lock()

    def streams(self) -> list[AnswerStream]:
        """One for each answer, to be read once; each may be read in a thread of its own."""
        return [AnswerStream(self, number) for number in range(len(self.answers))]

    def close(self) -> None:
        """Nobody reads on: settle what the answers cost. May be called from any thread."""
        self._is_closed = True
        if self._preparation is not None and not self._is_settled:
            self._settle(self._preparation, is_complete=False)

    @property
    def target(self) -> Target:
        """What the name stands for; known once something of a stream was read."""
        return self._prepared.target

    @property
    def is_live(self) -> bool:
        """Whether its answers are given now; likewise."""
        return self._prepared.is_live

    @property
    def _prepared(self) -> Preparation:
        assert self._preparation is not None
        return self._preparation

    def _begin(self) -> Preparation | None:
        """Lay the request out and set its cost aside, once; None: nobody waits for it."""
        with self._beginning:
            if self._preparation is None and not self._is_closed:
                try:
                    prepared = self._preparation = self._prepare()
                    if self._is_closed or not prepared.charge.reserve():
                        return None
                except BaseException:  # none of the answers may be asked for
                    self.close()
                    raise
            return None if self._is_closed else self._preparation

    def _finish(self, number: int, *, is_complete: bool) -> Receipt | None:
        """Nothing comes any more of one answer; with the last one, settle and trace.

        Args:
            is_complete: its calls have ended, or cost nothing.
        """
        self._over[number] = is_complete
        prepared = self._preparation
        if prepared is None or self._is_settled or len(self._over) < len(self.answers):
            return None
        if not self._settle(prepared, is_complete=all(self._over.values())):
            return None
        ends = [answer.end for answer in self.answers if answer.end is not None]
        if len(ends) < len(self.answers):
            return None
        receipt = _receipt(ends, self._count)
        if prepared.trace is not None and self._id is not None:
            prepared.trace(self._exchange(prepared, self._id, receipt))
        return receipt

    def _settle(self, prepared: Preparation, *, is_complete: bool) -> bool:
        ends = [end for route in prepared.routes for end in route.ends]
        self._is_settled = True
        return prepared.charge.settle(ends, is_complete=is_complete)

    def _exchange(self, prepared: Preparation, id: str, receipt: Receipt) -> ServedExchange:
        first, seconds = self.answers[0].end, time.perf_counter() - self.started_at
        ends = tuple(end for route in prepared.routes for end in route.ends)
        return ServedExchange(
            id=id,
            project=self._caller.project,
            key_id=self._caller.key_id,
            target=prepared.target,
            messages=tuple(self._conversation.messages),
            tools=tuple(self._conversation.tools),
            answers=tuple((answer.text, answer.calls) for answer in self.answers),
            prompt_tokens=receipt.prompt_tokens,
            completion_tokens=receipt.completion_tokens,
            seconds=seconds if prepared.is_live else None,
            agents=() if first is None else first.agents,
            ends=ends,
            usd=prepared.charge.cost_usd(prepared.machine_hour_usd, ends, seconds),
        )


class AnswerStream:
    """One answer, item by item. `close` may be called from any thread."""

    def __init__(self, answering: Answering, number: int) -> None:
        self._answering, self._number = answering, number
        self._answer = answering.answers[number]
        self._items, self._is_closed = self._read(), False

    @property
    def passages(self) -> str:
        """Of documents, as they stood before the question; "" where there were none."""
        return self._answering._prepared.routes[self._number].call.passages

    def __iter__(self) -> Iterator[Item]:
        return self._items

    def __next__(self) -> Item:
        return next(self._items)

    def close(self) -> None:
        """Free the engine, and settle what the answer has cost."""
        self._is_closed = True
        prepared = self._answering._preparation
        try:
            if prepared is not None:
                prepared.routes[self._number].close()
        finally:
            self._finish()

    def _finish(self, *, is_free: bool = False) -> Receipt | None:
        is_complete = is_free or self._answer.end is not None
        return self._answering._finish(self._number, is_complete=is_complete)

    def _read(self) -> Iterator[Item]:
        prepared = None if self._is_closed else self._answering._begin()
        if prepared is None:
            return
        if self._is_closed:  # meanwhile, and nothing was asked
            self._finish(is_free=True)
            return
        answer, conversation = self._answer, self._answering._conversation
        reader = Reader(conversation.tools) if conversation.tools else None
        shown: list[str] = []
        items = iter(prepared.routes[self._number])
        try:
            for item in items:
                if isinstance(item, Piece):
                    answer.pieces.append(item)
                    if reader is not None:
                        item = replace(item, text=reader.feed(item.text))
                        shown.append(item.text)
                    yield item
                    continue
                answer.text = "".join(piece.text for piece in answer.pieces)
                if reader is not None:
                    rest, calls = reader.end()
                    if rest:
                        yield Piece(rest)
                    if calls and not item.calls:
                        answer.text = "".join((*shown, rest)).strip()
                    calls = item.calls or calls
                    calls = calls if conversation.are_calls_parallel else calls[:1]
                    item = replace(item, calls=calls)
                answer.calls, answer.end = item.calls, item
                yield item
                break
        except BaseException as error:
            is_first = len(self._answering.answers) == 1 and not answer.pieces
            self._finish(is_free=is_first and isinstance(error, AssayError) and not error.charged)
            raise
        receipt = self._finish()
        if receipt is not None:
            yield receipt
        with suppress(Exception):  # past the end: only then is a connection kept
            for _ in items:
                pass


def _receipt(ends: Sequence[End], count: int) -> Receipt:
    prompts = [ends[i : i + count] for i in range(0, len(ends), count)]
    return Receipt(
        _sum([_most([end.prompt_tokens for end in group]) for group in prompts]),
        _sum([end.completion_tokens for end in ends]),
        _sum([_most([end.cached_tokens for end in group]) for group in prompts]),
        _sum([end.reasoning_tokens for end in ends]),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _most(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if len(known) == len(counts) else None
