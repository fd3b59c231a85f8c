"""Passages of documents in a request, in the one form that all requests have.

The last user turn becomes

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
from dataclasses import replace
from functools import lru_cache

from assay.agent.agent import Knowledge
from assay.errors import NotFoundError
from assay.example import Example, Message
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.search import Passage
from assay.store.store import Store

NOTHING = "(no passage is relevant)"
_OPEN, _CLOSE = "<passages>", "</passages>"
_TAG = re.compile(r"</?\s*passages\s*>", re.IGNORECASE)


def query_of(example: Example) -> str:
    """What the documents are searched for: the last turn of the user."""
    place = _last_user(example.prompt)
    return "" if place is None else example.prompt[place].content


def find_passages(
    knowledge: Knowledge,
    examples: Sequence[Example],
    store: Store,
    owner: str,
    seen: frozenset[str] | None = None,
) -> list[list[Passage]]:
    """The relevant passages for each example, best first; targets are never looked at.

    A snapshot is kept for a time, and given up at once when a document in it is removed. After
    that the present state is searched: documents that were removed must not be shown again, and an
    endpoint must not cease to answer because of it.

    Args:
        owner: the project that asks; knowledge of another one is not there for it.
        seen: labels of the documents that whoever asks may see; None: all.

    Raises:
        AssayError: there is no such knowledge, or it cannot be searched.
    """
    base = _base(store, owner, knowledge.name)

    def search(snapshot: str | None) -> list[list[Passage]]:
        return base.search(
            [query_of(example) for example in examples],
            k=knowledge.k,
            mode=knowledge.mode,
            weight=knowledge.weight,
            threshold=knowledge.threshold,
            rerank=knowledge.rerank,
            labels=None if knowledge.labels is None else frozenset(knowledge.labels),
            seen=seen,
            snapshot=snapshot,
        )

    try:
        return search(knowledge.snapshot)
    except NotFoundError:
        return search(None)


# A server asks for one example at a time: an opened index stays open.
@lru_cache(maxsize=8)
def _base(store: Store, owner: str, name: str) -> KnowledgeBase:
    return KnowledgeBase(store, owner, name)


def with_passages(
    messages: Sequence[Message], found: Sequence[Passage], knowledge: Knowledge
) -> tuple[Message, ...]:
    """The turns of a request with passages before the user's last one.

    A conversation that leaves no room for any passage stays as it is.
    """
    place = _last_user(messages)
    if place is None:
        return tuple(messages)
    given = fitting(messages, found, knowledge)
    if found and not given:
        return tuple(messages)
    turn = messages[place]
    asked = replace(turn, content=f"{_block(given, knowledge)}\n\n{turn.content}")
    return (*messages[:place], asked, *messages[place + 1 :])


def passages_in(messages: Sequence[Message]) -> str:
    """The passages of a request that `with_passages` made, as they stand there; "" without any."""
    place = _last_user(messages)
    content = "" if place is None else messages[place].content
    if not content.startswith(_OPEN):
        return ""
    return content.removeprefix(_OPEN).partition(_CLOSE)[0].strip()


def fitting(
    messages: Sequence[Message], found: Sequence[Passage], knowledge: Knowledge
) -> list[Passage]:
    """The passages that have room beside the other turns, those that rank first."""
    room = knowledge.characters - sum(len(message.content) for message in messages)
    room -= len(_block([], knowledge))
    given: list[Passage] = []
    for number, passage in enumerate(found, start=1):
        room -= len(entry(number, passage)) + 2
        if room < 0:
            break
        given.append(passage)
    return given


def citation(passage: Passage) -> str:
    """Where a passage stands: document, page, heading, as far as they are known."""
    page = None if passage.page is None else f"page {passage.page}"
    parts = (passage.document, page, passage.heading)
    return ", ".join(" ".join(part.split()) for part in parts if part)


def _block(given: Sequence[Passage], knowledge: Knowledge) -> str:
    entries = [entry(number, passage) for number, passage in enumerate(given, start=1)]
    lines = [_OPEN, "\n\n".join(entries) or NOTHING, _CLOSE]
    if knowledge.abstain is not None:
        lines.append(f"If the passages do not hold the answer, say exactly: {knowledge.abstain}")
    return "\n".join(lines)


def entry(number: int, passage: Passage) -> str:
    """A passage as it stands in a request under its number."""
    # Neither a text nor a name may end the block that it stands in.
    return _TAG.sub("[tag]", f"[{number}] {citation(passage)}\n{passage.text.strip()}")


def _last_user(messages: Sequence[Message]) -> int | None:
    places = [i for i, message in enumerate(messages) if message.role == "user"]
    return places[-1] if places else None
