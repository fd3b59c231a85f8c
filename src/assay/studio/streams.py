"""An engine's answer, shown as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from assay.example import Message
from assay.generate.serving import End
from assay.project import trying
from assay.project.answering import Routed, Wishes
from assay.serve.streams import Interleaved
from assay.studio.visit import Visit, action

SHOWN_EVERY_S = 0.05
"""Pieces that come faster are shown together: a browser need not draw each."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer that has ended, and what it took.

    Attributes:
        prompt_tokens, completion_tokens: None where its engine does not count.
        first_s: until its first piece; None where there was none.
        usd: None where unknown.
    """

    text: str
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None
    first_s: float | None
    seconds: float
    usd: float | None


@action("viewer")
def begin(visit: Visit, name: str, messages: Sequence[Message], wishes: Wishes) -> Routed:
    """The stream of an answer; nothing is asked before it is read."""
    return trying.answer(visit.workspace, visit.engines, name, messages, wishes)


async def stream(
    visit: Visit,
    name: str,
    messages: Sequence[Message],
    show: Callable[[str], None],
    wishes: Wishes | None = None,
) -> Told:
    """Ask, and hand the answer so far to `show` as it grows. Cancelling frees the engine.

    Raises:
        AssayError: who was asked is not there, or could not answer.
    """
    answer = await visit.do(begin, name, messages, wishes or Wishes())
    told = await read(answer, show)
    usd = await visit.do(lambda v: trying.cost_usd(v.workspace, name, told.seconds))
    return replace(told, usd=usd)


async def read(answer: Routed, show: Callable[[str], None]) -> Told:
    """Read an answer to its end; its cost is left unknown. See `stream`."""
    began, first, shown = time.monotonic(), None, 0.0
    text, end = "", None
    items = Interleaved([lambda: answer])
    try:
        async for _, item in items:
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
    return Told(
        text=text,
        finish=end.finish if end else "stop",
        prompt_tokens=end.prompt_tokens if end else None,
        completion_tokens=end.completion_tokens if end else None,
        first_s=first,
        seconds=seconds,
        usd=None,
    )


def counted(tokens: int | None) -> str:
    """As it is shown."""
    return "?" if tokens is None else f"{tokens:,}"
