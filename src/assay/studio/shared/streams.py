"""An engine's answer, shown as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from assay.agent.answering import GenerationOptions
from assay.example import Message, ToolCall
from assay.generate.stream import End
from assay.project.answer import playground
from assay.project.answer.answering import AnswerStream
from assay.project.answer.playground import AnswerDetails
from assay.serve.streams import MergedStreams
from assay.studio.session import PageContext, action

CHECKED_EVERY_S = 1.0
"""Who is signed out meanwhile reads no further, and the engine is free."""
SHOWN_EVERY_S = 0.05
"""Pieces that come faster are shown together: a browser need not draw each."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer and what it took.

    Attributes:
        prompt_tokens, completion_tokens: None where the engine does not count.
        first_s: seconds until the first piece; None where there was none.
        how: how it came about; None where it broke off.
    """

    text: str
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None
    first_s: float | None
    seconds: float
    how: AnswerDetails | None
    calls: tuple[ToolCall, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing and calls nothing."""
        return not self.text.strip() and not self.calls

    @property
    def usd(self) -> float | None:
        """The price of the answer; None where unknown."""
        return self.how.usd if self.how is not None else None

    @property
    def asked(self) -> tuple[str, ...]:
        """The agents that a route asked, in order; empty without a route."""
        return self.how.route if self.how is not None else ()


@action("viewer")
def check_session(context: PageContext) -> None:
    """Checks that the person may read on, and does nothing else."""


@action("viewer")
def open_answer(
    context: PageContext,
    name: str,
    messages: Sequence[Message],
    options: GenerationOptions,
    tools: Sequence[dict[str, Any]],
) -> AnswerStream:
    """The stream of an answer; nothing is asked before it is read."""
    return playground.answer(context.workspace, context.engines, name, messages, options, tools)


async def ask(
    context: PageContext,
    name: str,
    messages: Sequence[Message],
    show: Callable[[str], object],
    options: GenerationOptions | None = None,
    tools: Sequence[dict[str, Any]] = (),
) -> Reply:
    """Ask, and hand the answer so far to `show` as it grows. Cancelling frees the engine.

    Args:
        tools: that may be called; calls are no part of what is shown.

    Raises:
        AssayError: who was asked is not there, or could not answer.
    """
    options = options or GenerationOptions()
    answer = await context.do(open_answer, name, messages, options, tools)
    return await read_answer(context, answer, show)


async def read_answer(
    context: PageContext, answer: AnswerStream, show: Callable[[str], object]
) -> Reply:
    """Read an answer to its end, or to that of the session. See `ask`."""
    began, first, shown = time.monotonic(), None, 0.0
    text, end = "", None
    items = MergedStreams([answer])
    looked = began
    try:
        async for _, item in items:
            if time.monotonic() - looked > CHECKED_EVERY_S:
                await context.do(check_session)
                looked = time.monotonic()
            if isinstance(item, End):
                end = item
                continue
            now = time.monotonic()
            text, first = text + item.text, first or now - began
            if now - shown > SHOWN_EVERY_S:
                show(text)
                shown = now
    finally:
        items.close()
    seconds = time.monotonic() - began
    show(text)
    how = None
    if end is not None:
        how = await context.read(playground.answer_details, answer, end, seconds)
    return Reply(
        text=text,
        finish=end.finish if end else "stop",
        prompt_tokens=end.prompt_tokens if end else None,
        completion_tokens=end.completion_tokens if end else None,
        first_s=first,
        seconds=seconds,
        how=how,
        calls=end.calls if end else (),
    )


def format_tokens(reply: Reply) -> str:
    """The tokens of question and answer, as "12 + 3"; "" where the engine does not count them."""
    if reply.prompt_tokens is None or reply.completion_tokens is None:
        return ""
    return f"{reply.prompt_tokens:,} + {reply.completion_tokens:,}"
