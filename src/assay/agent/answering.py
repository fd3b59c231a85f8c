"""From a client's conversation to an engine's stream: the agent put in, the options weighed.

An agent's request is made by `agent.runtime.assemble`, as in a comparison; so is everything it
says about the answer (schema, choices, length, temperature, seed) where the client says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from assay.agent.agent import Agent
from assay.agent.passages import passages_in
from assay.agent.routing import Step, Sure, paths
from assay.agent.runtime import assemble
from assay.chat.template import ToolsError
from assay.chat.tool_text import in_words
from assay.errors import UsageError
from assay.example import Example, Message, ToolCall
from assay.generate.batch import Request
from assay.generate.stream import End, Piece, Sampling, StreamEngine
from assay.store.store import Store


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """What a client says about the answer; None: it says nothing.

    Attributes:
        schema, json_object, tool_choice: see `Sampling`; they come from `response_format` or a
            forced tool.
    """

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    schema: dict[str, Any] | None = None
    json_object: bool = False
    tool_choice: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Who answers.

    Attributes:
        name: as it was asked for.
        model: what the engines know it by.
        agent: puts its prompt and examples around the request; None: the bare model.
        known_as: its name in figures that are kept for each model: one of the names that the
            folder knows, never one that a caller has made up.
    """

    name: str
    model: str
    agent: Agent | None = None
    known_as: str = ""

    def __post_init__(self) -> None:
        if not self.known_as:
            object.__setattr__(self, "known_as", self.name)


@dataclass(frozen=True, slots=True)
class EngineCall:
    """What an engine is asked.

    Attributes:
        model: what the engines know it by; "" where it is known already.
        agent: id of the agent that a route asks, else None.
        sure: when its answer is given; None: always.
        passages: of documents that the agent has put into the messages, as they stand there.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]
    sampling: Sampling
    model: str = ""
    agent: str | None = None
    sure: Sure | None = None
    passages: str = ""


@dataclass(frozen=True, slots=True)
class ServedExchange:
    """A request and what came of it, for those who keep traces.

    Attributes:
        id: what the client knows the answer by.
        messages, tools: the client's, without what the agent puts around them.
        asked: ids of the agents that a route asked for the first answer; the last one gave it.
        answers: text and calls of each.
        seconds: from the request to the last token.
        ends: of all calls that it took.
    """

    id: str
    project: str
    key_id: str
    served: Target
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]
    answers: tuple[tuple[str, tuple[ToolCall, ...]], ...]
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    asked: tuple[str, ...] = ()
    ends: tuple[End, ...] = ()


TEMPERATURE = 1.0
"""Of a bare model where the client says nothing: OpenAI's default."""


def sampling_of(options: GenerationOptions, project: str) -> Sampling:
    """The options of a project's client, and OpenAI's defaults where there are none."""
    return Sampling(
        max_new_tokens=options.max_new_tokens,
        temperature=TEMPERATURE if options.temperature is None else options.temperature,
        top_p=1.0 if options.top_p is None else options.top_p,
        seed=options.seed,
        stop=options.stop,
        logprobs=options.logprobs,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        logit_bias=options.logit_bias,
        schema=options.schema,
        json_object=options.json_object,
        tool_choice=options.tool_choice,
        owner=project,
    )


def ask(
    served: Target,
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]],
    options: GenerationOptions,
    store: Store,
    project: str = "",
    seen: frozenset[str] | None = None,
) -> tuple[EngineCall, ...]:
    """The request that `served` makes of a conversation; of a route, every call it may take.

    A client's own system prompt takes the place of the agent's, as an example's does in a
    comparison.

    Args:
        project: that asks; an agent looks only into its documents.
        seen: labels of those that the client's key sees; None: all.

    Raises:
        UsageError: the client wants another form of answer than the agent enforces.
        ConfigError: a route that cannot be followed.
    """
    if served.agent is None:
        return (
            EngineCall(tuple(messages), tuple(tools), sampling_of(options, project), served.model),
        )
    # The target is never looked at; an example has one.
    example = Example("request", (*messages, Message("assistant", "")), tools=tuple(tools))
    [path] = paths(served.agent, [example], store)
    routed = served.agent.route is not None
    return tuple(
        _asked(
            served.name,
            step,
            assemble(step.agent, [example], store, project, seen)[0],
            options,
            routed,
            project,
        )
        for step in path
    )


def _asked(
    name: str, step: Step, made: Request, options: GenerationOptions, routed: bool, project: str
) -> EngineCall:
    sampling = sampling_of(options, project)
    if made.schema is not None or made.choices is not None:
        if options.schema is not None or options.json_object or made.tools:
            raise UsageError(
                f"{name} enforces the form of its answers; a request cannot ask for "
                "another form or bring tools."
            )
        sampling = replace(sampling, schema=made.schema, choices=made.choices)
    if options.max_new_tokens is None:
        sampling = replace(sampling, max_new_tokens=made.max_new_tokens)
    if options.temperature is None:
        sampling = replace(sampling, temperature=made.temperature)
        if options.seed is None:
            sampling = replace(sampling, seed=made.seed)
    sampling = replace(sampling, confidence=step.sure is not None)
    id = step.id if routed else None
    passages = passages_in(made.messages) if step.agent.knowledge is not None else ""
    return EngineCall(
        made.messages, made.tools, sampling, step.agent.model, id, step.sure, passages
    )


class Answer(Iterator[Piece | End]):
    """The engine's stream; tools are told in words where its template has no place for them.

    Nothing is asked, and no model loaded, before the first piece is. `close` may be called from any
    thread.

    Args:
        find: the engine; may take as long as it takes to load a model.

    Raises:
        DataError: the template refuses the messages. More as `StreamEngine` says.
    """

    def __init__(self, find: Callable[[], StreamEngine], asked: EngineCall) -> None:
        self._find, self._asked = find, asked
        self._stream: Iterator[Piece | End] | None = None
        self._closed = False

    def __next__(self) -> Piece | End:
        if self._stream is not None:
            return next(self._stream)
        engine, asked = self._find(), self._asked
        if self._closed:  # while the model was loaded
            raise StopIteration
        try:
            self._stream = engine.chat(asked.messages, asked.tools, asked.sampling)
            return next(self._stream)
        except ToolsError:
            turns = in_words(asked.messages, asked.tools)
            self._stream = engine.chat(turns, (), asked.sampling)
            return next(self._stream)

    def close(self) -> None:
        """End the stream and free the engine's slot."""
        self._closed = True
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


class Routed(Iterator[Piece | End]):
    """The stream of a route: an answer that may not be sure enough is held back until it is whole.

    Each call is asked only when the one before has not sufficed; the end tells the tokens of all,
    and who was asked.

    Args:
        find: the engine of a model.
        path: the calls, the last of which answers whatever comes.

    Attributes:
        asked: the call that was made last; once the stream has ended, the one that answered.
        answered: the ends of all calls that have one, whatever comes of the stream.
    """

    def __init__(self, find: Callable[[str], StreamEngine], path: Sequence[EngineCall]) -> None:
        self._find, self._path = find, tuple(path)
        self.asked = self._path[0]
        self.answered: tuple[End, ...] = ()
        self._items = self._answer()
        self._now: Answer | None = None
        self._closed = False

    def __next__(self) -> Piece | End:
        return next(self._items)

    def close(self) -> None:
        """Free the slot of the engine that is answering; none is asked after it."""
        self._closed = True
        if self._now is not None:
            self._now.close()

    def _answer(self) -> Iterator[Piece | End]:
        spent = End("stop", 0, 0)
        for asked in self._path:
            if self._closed:
                return
            self.asked = asked
            self._now = Answer(partial(self._find, asked.model), asked)
            held: list[Piece] = []
            ended = enough = False
            for item in self._now:  # past its end, too: only then is its connection kept
                if isinstance(item, Piece):
                    if asked.sure is None:
                        yield item
                    else:
                        held.append(item)
                    continue
                self.answered += (item,)
                spent = item if asked.agent is None else _together(spent, item, asked.agent)
                ended, sure = True, asked.sure
                enough = sure is None or sure.enough(item.logprob, item.scored_tokens)
                if enough:
                    yield from held
                    yield spent
            if enough or not ended:  # without an end it broke off, as who reads finds
                return


def _together(before: End, end: End, agent: str) -> End:
    """The end of a call, with what was spent before it."""
    return replace(
        end,
        prompt_tokens=_sum(before.prompt_tokens, end.prompt_tokens),
        completion_tokens=_sum(before.completion_tokens, end.completion_tokens),
        cached_tokens=_sum(before.cached_tokens, end.cached_tokens),
        reasoning_tokens=_sum(before.reasoning_tokens, end.reasoning_tokens),
        agents=(*before.agents, agent),
        arm_ends=(*before.arm_ends, end),
    )


def _sum(before: int | None, more: int | None) -> int | None:
    """Unknown, if one of them is."""
    return None if before is None or more is None else before + more
