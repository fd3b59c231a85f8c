"""Follows a route: who is asked, in which order, and when an answer is sure enough to be given.

Comparisons and servers decide by the same two things: the `paths` of requests, laid out before
anybody is asked, and `Walk`, which tells by `ConfidenceRule.enough` when a path ends.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from assay import patterns
from assay.agent.agent import Agent
from assay.agent.learned import Floats, RouterModel, load_router
from assay.agent.route import Cascade, Confidence, LearnedRoute, Route, Rule, Rules
from assay.agent.versions import load_agent
from assay.config import is_remote
from assay.errors import AssayError, ConfigError
from assay.example import Example
from assay.generate.batch import Answer, Request
from assay.generate.classical import ClassicalModel, load_classical
from assay.generate.stream import End
from assay.models.embed import get_embedder
from assay.store import blobs
from assay.store.store import Store

log = logging.getLogger("assay.agent")

DEEPEST = 3
"""Routes within routes, the outermost counted."""
NOT_KNOWN = 1.0
"""Need of an answer whose probability was not told; that of any other is 0 or less."""
LANGUAGE_CERTAIN = 0.5
"""Probability from which the guess of a language counts."""
PATTERN_S = 0.1
"""Longest time for one regular expression on one input; then it counts as not found."""


@dataclass(frozen=True, slots=True)
class ConfidenceRule:
    """When an answer of a cascade's cheap arm is given."""

    threshold: float
    confidence: Confidence

    def enough(self, logprob: float | None, tokens: int | None) -> bool:
        """Whether an answer is given; one whose probability is not known is not."""
        sure = confidence(self.confidence, logprob, tokens)
        return sure is not None and sure >= self.threshold


@dataclass(frozen=True, slots=True)
class Step:
    """One call that a path may take.

    Attributes:
        id: of the agent that is asked.
        sure: when its answer ends the path; None: always.
    """

    id: str
    agent: Agent
    sure: ConfidenceRule | None = None


Path = tuple[Step, ...]
_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


class _Decision(Protocol):
    """A call of a path."""

    @property
    def sure(self) -> ConfidenceRule | None: ...


_Call = TypeVar("_Call", bound=_Decision)
_Answer = TypeVar("_Answer", Answer, End)


class Walk(Generic[_Call, _Answer]):
    """A path while it is walked: comparisons walk many side by side, a server one.

    Attributes:
        calls: those whose answer has come, the one that answered last.
        answers: theirs.
    """

    def __init__(self, path: Sequence[_Call]) -> None:
        self._path = path
        self.calls: tuple[_Call, ...] = ()
        self.answers: tuple[_Answer, ...] = ()

    @property
    def call(self) -> _Call:
        """The call that is to be made next."""
        return self._path[len(self.calls)]

    def take(self, answer: _Answer) -> bool:
        """Take the answer to `call`; whether it is the one that is given."""
        sure = self.call.sure
        self.calls += (self.call,)
        self.answers += (answer,)
        return sure is None or sure.enough(answer.logprob, answer.scored_tokens)

    @property
    def answer(self) -> _Answer:
        """The last answer, with the tokens of every call; unknown (None) if those of one are."""
        if len(self.answers) == 1:
            return self.answers[0]
        spent: dict[str, Any] = {}
        for name in _COUNTS:
            counts = [getattr(answer, name) for answer in self.answers]
            spent[name] = None if None in counts else sum(counts)
        return replace(self.answers[-1], **spent)


def confidence(of: Confidence, logprob: float | None, tokens: int | None) -> float | None:
    """How sure an answer is, 0 to 1; None where nothing is known of it, or it is empty.

    Args:
        logprob: sum over the generated tokens, natural logarithm.
        tokens: how many there are; None: the answer was one choice.
    """
    if logprob is None or tokens == 0:
        return None
    return math.exp(logprob / (tokens or 1) if of == "token" else logprob)


def leaves(agent: Agent, store: Store) -> dict[str, Agent]:
    """The agents, by id, that may be asked in the end; of one without a route, itself.

    Raises:
        ConfigError: the route goes in a circle or too deep, or an arm cannot answer.
    """
    found: dict[str, Agent] = {}
    _visit(agent, agent.id, store, (), found)
    return found


def _visit(
    agent: Agent, id: str, store: Store, above: tuple[str, ...], found: dict[str, Agent]
) -> None:
    if id in above:
        raise ConfigError(
            f"this route leads back to itself: {' → '.join(one[:12] for one in (*above, id))}.",
            fix="Replace one of its arms by an agent without a route.",
        )
    route = agent.route
    if route is None:
        if agent.kind == "outside":
            what = f"an arm of this route ({id[:12]})" if above else "this agent"
            raise ConfigError(
                f"{what} contains stored answers and cannot answer new questions.",
                fix="Name another agent.",
            )
        found[id] = agent
        return
    if len(above) == DEEPEST:
        raise ConfigError(
            f"routes are nested more than {DEEPEST} levels deep.",
            fix="Replace an arm by an agent without a route.",
        )
    if isinstance(route, Cascade) and arm(store, route.cheap).route is not None:
        raise ConfigError(
            "the cheap arm of a cascade has a route itself, so its confidence is not known.",
            fix="Use the second cascade as the strong arm.",
        )
    for one in route.arms:
        _visit(arm(store, one), one, store, (*above, id), found)


@lru_cache(maxsize=256)
def arm(store: Store, id: str) -> Agent:
    """The agent of an id; what was read once is kept, since it never changes.

    Raises:
        ConfigError: there is none.
    """
    try:
        return load_agent(store, id)
    except AssayError:
        raise ConfigError(
            f"an arm of this route ({id[:12]}) is not in this project.",
            fix="Save the arm as an agent first.",
        ) from None


def paths(agent: Agent, examples: Sequence[Example], store: Store) -> list[Path]:
    """The path of each example's input; targets are never looked at.

    Raises:
        ConfigError: see `leaves`.
    """
    leaves(agent, store)
    return _paths(agent, agent.id, examples, store)


def _paths(agent: Agent, id: str, examples: Sequence[Example], store: Store) -> list[Path]:
    route = agent.route
    if route is None:
        return [(Step(id, agent),)] * len(examples)
    if isinstance(route, Cascade):
        cheap = Step(
            route.cheap, arm(store, route.cheap), ConfidenceRule(route.threshold, route.confidence)
        )
        rest = _paths(arm(store, route.strong), route.strong, examples, store)
        return [(cheap, *path) for path in rest]
    chosen = first_arms(route, examples, store)
    laid: dict[int, Path] = {}
    for one in dict.fromkeys(chosen):
        places = [i for i, name in enumerate(chosen) if name == one]
        there = _paths(arm(store, one), one, [examples[i] for i in places], store)
        laid.update(zip(places, there, strict=True))
    return [laid[i] for i in range(len(examples))]


def first_arms(route: Route, examples: Sequence[Example], store: Store) -> list[str]:
    """The id of the arm that each input goes to before anybody has answered."""
    if isinstance(route, Cascade):
        return [route.cheap] * len(examples)
    if isinstance(route, Rules):
        return _by_rules(route, examples, store)
    gains = _gains(route, examples, store)
    return [route.strong if gain > route.threshold else route.cheap for gain in gains]


def needs(
    route: Route, examples: Sequence[Example], cheap: Sequence[Answer], store: Store
) -> Floats | None:
    """[examples]: what a route between two arms decides by; the higher, the more the strong arm is
    needed. None of a route by rules.

    Args:
        cheap: the cheap arm's answers, which a cascade decides by.
    """
    if isinstance(route, Cascade):
        return needs_by_confidence(route.confidence, cheap)
    return _gains(route, examples, store) if isinstance(route, LearnedRoute) else None


def needs_by_confidence(of: Confidence, cheap: Sequence[Answer]) -> Floats:
    """[answers]: the less sure the higher; an answer that nothing is known of is above all."""
    sure = [confidence(of, answer.logprob, answer.scored_tokens) for answer in cheap]
    return np.array([NOT_KNOWN if value is None else -value for value in sure])


def _gains(route: LearnedRoute, examples: Sequence[Example], store: Store) -> Floats:
    router = _router(store, route.model)
    vectors = get_embedder(router.embedder).encode([example.input for example in examples])
    return router.gain(vectors)


@lru_cache(maxsize=8)
def _router(store: Store, blob: str) -> RouterModel:
    return load_router(blobs.get(store, blob))


def _by_rules(route: Rules, examples: Sequence[Example], store: Store) -> list[str]:
    texts = [example.input for example in examples]
    labels = [""] * len(texts)
    if route.classifier is not None and texts:
        classifier = _classifier(store, route.classifier)
        best = classifier.log_probabilities(texts).argmax(axis=1)
        labels = [classifier.labels[i] for i in best]
    return [
        next((rule.to for rule in route.rules if _holds(rule, text, label)), route.otherwise)
        for text, label in zip(texts, labels, strict=True)
    ]


def _holds(rule: Rule, text: str, label: str) -> bool:
    """All conditions, the cheapest to look at first."""
    if rule.longer_than is not None and len(text) <= rule.longer_than:
        return False
    if rule.shorter_than is not None and len(text) >= rule.shorter_than:
        return False
    if rule.labels is not None and label not in rule.labels:
        return False
    if rule.languages is not None and _language(text) not in rule.languages:
        return False
    return rule.pattern is None or _found(rule.pattern, text)


def _language(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None where it is not certain (a single word)."""
    if not any(character.isalpha() for character in text):
        return None
    code, probability = _language_identifier().classify(text)
    return str(code) if probability >= LANGUAGE_CERTAIN else None


@lru_cache(maxsize=1)
def _language_identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


_compiled = lru_cache(64)(patterns.compile_pattern)


def _found(pattern: str, text: str) -> bool:
    try:
        return _compiled(pattern).search(text, timeout=PATTERN_S) is not None
    except TimeoutError:
        log.warning("the pattern %r of a route took too long and counts as not found", pattern)
        return False


@lru_cache(maxsize=8)
def _classifier(store: Store, blob: str) -> ClassicalModel:
    return load_classical(blobs.get(store, blob))


def follow(
    laid: Sequence[Path], ask: Callable[[Step, list[int]], Sequence[Answer]]
) -> list[Walk[Step, Answer]]:
    """Walk all paths, step by step, asking each agent for all that reach it at once.

    Args:
        ask: the answers of a step's agent to the requests in these places.
    """
    walks = [Walk[Step, Answer](path) for path in laid]
    going = list(range(len(walks)))
    while going:
        together: dict[tuple[str, bool], list[int]] = {}
        for place in going:
            step = walks[place].call
            together.setdefault((step.id, step.sure is None), []).append(place)
        going = []
        for places in together.values():
            for place, answer in zip(places, ask(walks[places[0]].call, places), strict=True):
                if not walks[place].take(answer) and answer.has_answered:
                    going.append(place)
        going.sort()
    return walks


def with_confidence(request: Request, agent: Agent) -> Request:
    """The request, asking for log-probabilities where the engine does not tell them unasked."""
    return replace(request, logprobs=0) if is_remote(agent.model) else request
