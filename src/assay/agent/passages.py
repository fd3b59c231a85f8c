"""Passages of documents in a request: found for its question, put before it (`passage_block`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from assay.agent.agent import Knowledge
from assay.errors import NotFoundError
from assay.example import Example, Message
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.fixed_base import FixedBase
from assay.knowledge.passage_block import block, entry, last_user
from assay.knowledge.search import Passage
from assay.store.store import Store


def query_of(example: Example) -> str:
    """What the documents are searched for: the last turn of the user."""
    place = last_user(example.prompt)
    return "" if place is None else example.prompt[place].content


def find_passages(
    knowledge: Knowledge,
    examples: Sequence[Example],
    store: Store,
    owner: str,
    seen: frozenset[str] | None = None,
    pin: str | None = None,
) -> list[list[Passage]]:
    """The relevant passages for each example, best first; targets are never looked at.

    A snapshot is kept for a time, and given up at once when a document in it is removed. After
    that the present state is searched: documents that were removed must not be shown again, and an
    endpoint must not cease to answer because of it.

    Args:
        owner: the project that asks; knowledge of another one is not there for it.
        seen: labels of the documents that whoever asks may see; None: all.
        pin: of the comparison that asks: what it keeps is searched, see `FixedBase`.

    Raises:
        AssayError: there is no such knowledge, or it cannot be searched.
    """
    base = _base(store, owner, knowledge.name, knowledge.embedder, pin)

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


def searched_snapshot(knowledge: Knowledge, store: Store, owner: str, pin: str | None) -> str:
    """The state that `find_passages` searches.

    Raises:
        NotFoundError: there is no such knowledge.
    """
    base = _base(store, owner, knowledge.name, knowledge.embedder, pin)
    if knowledge.snapshot is not None and base.has_snapshot(knowledge.snapshot):
        return knowledge.snapshot
    return base.snapshot


def knowledge_base(
    store: Store, owner: str, name: str, embedder: str | None = None, pin: str | None = None
) -> KnowledgeBase:
    """The documents that an agent's `Knowledge` of that name and embedder looks into.

    Args:
        pin: of a comparison: as it keeps them.
    """
    base = KnowledgeBase(store, owner, name) if pin is None else FixedBase(store, owner, name, pin)
    return base if embedder is None else base.tuned_copy(embedder)


# A server asks for one example at a time: an opened index stays open.
_base = lru_cache(maxsize=8)(knowledge_base)


def with_passages(
    messages: Sequence[Message], found: Sequence[Passage], knowledge: Knowledge
) -> tuple[Message, ...]:
    """The turns of a request with passages before the user's last one.

    A conversation that leaves no room for any passage stays as it is.
    """
    place = last_user(messages)
    if place is None:
        return tuple(messages)
    given = fitting(messages, found, knowledge)
    if found and not given:
        return tuple(messages)
    turn = messages[place]
    asked = replace(turn, content=f"{block(given, knowledge.abstain)}\n\n{turn.content}")
    return (*messages[:place], asked, *messages[place + 1 :])


def fitting(
    messages: Sequence[Message], found: Sequence[Passage], knowledge: Knowledge
) -> list[Passage]:
    """The passages that have room beside the other turns, those that rank first."""
    room = knowledge.characters - sum(len(message.content) for message in messages)
    room -= len(block([], knowledge.abstain))
    given: list[Passage] = []
    for number, passage in enumerate(found, start=1):
        room -= len(entry(number, passage)) + 2
        if room < 0:
            break
        given.append(passage)
    return given
