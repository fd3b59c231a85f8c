"""An engine's answer, shown as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assay.agent.answering import GenerationOptions
from assay.example import Message
from assay.generate.stream import End
from assay.project.answer import playground
from assay.project.answer.gateway import AnswerStream
from assay.project.answer.playground import Traced
from assay.serve.streams import Interleaved
from assay.studio.session import Visit, action

LOOKED_EVERY_S = 1.0
"""Who is signed out meanwhile reads no further, and the engine is free."""
SHOWN_EVERY_S = 0.05
"""Pieces that come faster are shown together: a browser need not draw each."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer that has ended, and what it took.

    Attributes:
        prompt_tokens, completion_tokens: None where its engine does not count.
        first_s: until its first piece; None where there was none.
        how: how it came about; None where it broke off.
    """

    text: str
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None
    first_s: float | None
    seconds: float
    how: Traced | None

    @property
    def usd(self) -> float | None:
        """None where unknown."""
        return self.how.usd if self.how is not None else None

    @property
    def route(self) -> str:
        """Those who were asked, where a route chose, in their order; else ""."""
        return " → ".join(self.how.route) if self.how is not None else ""


@action("viewer")
def still_there(visit: Visit) -> None:
    """Whether somebody may read on: asking is all that it does."""


@action("viewer")
def begin(
    visit: Visit, name: str, messages: Sequence[Message], options: GenerationOptions
) -> AnswerStream:
    """The stream of an answer; nothing is asked before it is read."""
    return playground.answer(visit.workspace, visit.engines, name, messages, options)


async def stream(
    visit: Visit,
    name: str,
    messages: Sequence[Message],
    show: Callable[[str], None],
    options: GenerationOptions | None = None,
) -> Told:
    """Ask, and hand the answer so far to `show` as it grows. Cancelling frees the engine.

    Raises:
        AssayError: who was asked is not there, or could not answer.
    """
    return await read(
        visit, await visit.do(begin, name, messages, options or GenerationOptions()), show
    )


async def read(visit: Visit, answer: AnswerStream, show: Callable[[str], None]) -> Told:
    """Read an answer to its end, or to that of the session. See `stream`."""
    began, first, shown = time.monotonic(), None, 0.0
    text, end = "", None
    items = Interleaved([lambda: answer])
    looked = began
    try:
        async for _, item in items:
            if time.monotonic() - looked > LOOKED_EVERY_S:
                await visit.do(still_there)
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
    if (last := end) is not None:
        how = await visit.do(lambda v: playground.traced(v.workspace, answer, last, seconds))
    return Told(
        text=text,
        finish=end.finish if end else "stop",
        prompt_tokens=end.prompt_tokens if end else None,
        completion_tokens=end.completion_tokens if end else None,
        first_s=first,
        seconds=seconds,
        how=how,
    )


def counted(tokens: int | None) -> str:
    """As it is shown."""
    return "?" if tokens is None else f"{tokens:,}"
