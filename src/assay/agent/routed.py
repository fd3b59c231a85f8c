"""An engine that answers for an agent with a route, by asking the engines of its arms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property

from assay.agent.agent import Agent
from assay.agent.routing import Step, follow, leaves, paths, with_confidence
from assay.agent.runtime import assemble
from assay.example import Example, Message
from assay.generate.batch import Answer, BatchEngine, Request
from assay.progress import SILENT, Progress
from assay.store.store import Store


class RouteEngine:
    """See `assay.generate.batch.BatchEngine`; its requests are bare conversations.

    Each arm puts its own prompt around the conversation and says how long its answer may be, as it
    does when it is asked by itself.

    Args:
        find: the engine of an arm.
        owner: the project that asks.
        pin: of the comparison that asks, see `find_passages`.
    """

    def __init__(
        self,
        agent: Agent,
        store: Store,
        find: Callable[[Agent], BatchEngine],
        owner: str = "",
        pin: str | None = None,
    ) -> None:
        self._agent, self._store, self._find = agent, store, find
        self._owner, self._pin = owner, pin

    @cached_property
    def identity(self) -> dict[str, str]:
        """The route, and all that can change an answer of its arms."""
        arms = leaves(self._agent, self._store)
        engines = {id: self._find(one).identity for id, one in sorted(arms.items())}
        spelled = json.dumps(engines, sort_keys=True).encode()
        return {
            "engine": "routed",
            "model": self._agent.id,
            "arms": hashlib.sha256(spelled).hexdigest(),
        }

    def prompt_length(self, request: Request) -> int:
        """Characters of the conversation: which arm will count its tokens is not known."""
        return sum(len(message.content) for message in request.messages)

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """One answer for each request, in their order; its tokens are those of every call."""
        examples = [conversation(request) for request in requests]

        def ask(step: Step, places: list[int]) -> list[Answer]:
            asking = [examples[place] for place in places]
            made = assemble(step.agent, asking, self._store, self._owner, pin=self._pin)
            if step.sure is not None:
                made = [with_confidence(request, step.agent) for request in made]
            return self._find(step.agent).answer(made, progress)

        laid = paths(self._agent, examples, self._store)
        return [walk.answer for walk in follow(laid, ask)]


def conversation(request: Request) -> Example:
    """The request as an example, whose target is empty."""
    turns = (*request.messages, Message("assistant", ""))
    return Example("request", turns, tools=request.tools)
