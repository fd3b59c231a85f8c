"""Passages of documents in a user's turn, in the one form that all requests have.

The turn becomes

    <passages>
    [1] policies/returns.md, page 3, Deadlines
    Goods may be sent back within 30 days of delivery.

    [2] faq.md
    ...
    </passages>
    If the passages do not hold the answer, say exactly: I cannot find this in our documents.

    How long can I wait before I send it back?

Numbers are what an answer cites; each names its document, and page and heading where they are
known. The line after the passages is there where the agent has a sentence to abstain with. Where
nothing relevant was found, the passages are the line `(no passage is relevant)`, so that the model
is told rather than left to guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assay.example import Message
from assay.knowledge.search import Passage

NOTHING = "(no passage is relevant)"
_OPEN, _CLOSE = "<passages>", "</passages>"
_TAG = re.compile(r"</?\s*passages\s*>", re.IGNORECASE)


def block(given: Sequence[Passage], abstain: str | None = None) -> str:
    """Passages under their numbers, and what to say where they do not hold the answer."""
    entries = [entry(number, passage) for number, passage in enumerate(given, start=1)]
    lines = [_OPEN, "\n\n".join(entries) or NOTHING, _CLOSE]
    if abstain is not None:
        lines.append(f"If the passages do not hold the answer, say exactly: {abstain}")
    return "\n".join(lines)


def entry(number: int, passage: Passage) -> str:
    """A passage as it stands in a request under its number."""
    # Neither a text nor a name may end the block that it stands in.
    return _TAG.sub("[tag]", f"[{number}] {citation(passage)}\n{passage.text.strip()}")


def citation(passage: Passage) -> str:
    """Where a passage stands: document, page, heading, as far as they are known."""
    page = None if passage.page is None else f"page {passage.page}"
    parts = (passage.document, page, passage.heading)
    return ", ".join(" ".join(part.split()) for part in parts if part)


def passages_in(messages: Sequence[Message]) -> str:
    """The passages of a request, as they stand there; "" without any."""
    return _divided(messages)[0]


def question_in(messages: Sequence[Message]) -> str:
    """The last turn of the user, without the passages before it."""
    return _divided(messages)[1]


def texts_in(messages: Sequence[Message]) -> list[str]:
    """The text of each passage of a request, without number and citation.

    A text that has a paragraph beginning with the next passage's number is divided there.
    """
    left, texts = passages_in(messages), list[str]()
    while left.startswith(f"[{len(texts) + 1}] "):
        end = left.find(f"\n\n[{len(texts) + 2}] ")
        one = left if end < 0 else left[:end]
        left = "" if end < 0 else left[end + 2 :]
        texts.append(one.partition("\n")[2])
    return texts


def last_user(messages: Sequence[Message]) -> int | None:
    """The place of the user's last turn; None where there is none."""
    places = [i for i, message in enumerate(messages) if message.role == "user"]
    return places[-1] if places else None


def _divided(messages: Sequence[Message]) -> tuple[str, str]:
    """(passages, question) of the turn that a block stands in."""
    place = last_user(messages)
    turn = "" if place is None else messages[place].content
    if not turn.startswith(_OPEN):
        return "", turn
    inside, _, after = turn.removeprefix(_OPEN).partition(_CLOSE)
    return inside.strip(), after.partition("\n\n")[2]
