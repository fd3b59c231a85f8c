"""From a client's conversation to an engine's stream: the agent put in, the options applied.

An agent's request is made by `agent.runtime.assemble`, as in a comparison; so is everything it
says about the answer (schema, choices, length, temperature, seed) where the client says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

from assay.agent.agent import Agent
from assay.agent.forms import is_within
from assay.agent.routing import ConfidenceRule, Step, Walk, paths
from assay.agent.runtime import assemble
from assay.config import is_remote
from assay.errors import UsageError
from assay.example import Example, Message, ToolCall
from assay.generate.batch import Request
from assay.generate.stream import End, Piece, Sampling, StreamEngine
from assay.knowledge.passage_block import passages_in
from assay.store.store import Store


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """What a client says about the answer; None: it says nothing.

    Attributes:
        schema, json_object, tool_choice: see `Sampling`; they come from `response_format` or a
            forced tool.
        reasoning_effort: of a model at a provider.
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
    reasoning_effort: str | None = None


class EffortError(UsageError):
    """`reasoning_effort` was given, and whoever would answer has none."""


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

    @property
    def fingerprint(self) -> str:
        """Equal where the same model and agent answer: `fp_` and 16 hexadecimal digits."""
        whole = self.agent.id if self.agent is not None else self.model
        return f"fp_{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class EngineCall:
    """What an engine is asked.

    Attributes:
        model: what the engines know it by; "" where it is known already.
        agent: id of the agent that a route asks, else None.
        sure: when its answer is given; None: always.
        passages: of documents that the agent has put into the messages, as they stand there.
        prompt: a text or token ids that are continued as they are, in place of the messages.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]
    sampling: Sampling
    model: str = ""
    agent: str | None = None
    sure: ConfidenceRule | None = None
    passages: str = ""
    prompt: str | Sequence[int] | None = None

    def bound(self, limit: int) -> EngineCall:
        """The same with a cost that has a bound: a limit in tokens on its answer, paid once."""
        limit = self.sampling.max_new_tokens or limit
        sampling = replace(self.sampling, max_new_tokens=limit, at_most_once=True)
        return replace(self, sampling=sampling)

    def repeat(self, count: int) -> list[EngineCall]:
        """The same for each of several answers, each with a seed of its own."""
        seed = self.sampling.seed
        if seed is None:
            return [self] * count
        seeded = [replace(self.sampling, seed=seed + n) for n in range(count)]
        return [replace(self, sampling=sampling) for sampling in seeded]


@dataclass(frozen=True, slots=True)
class ServedExchange:
    """A request and what came of it, for those who keep traces.

    Attributes:
        id: what the client knows the answer by.
        messages, tools: the client's, without what the agent puts around them.
        agents: ids of those that a route asked for the first answer; the last one gave it.
        answers: text and calls of each.
        seconds: from the request to the last token; None: of an answer that was there before.
        ends: of all calls that it took.
        usd: what it has cost; None where unknown.
    """

    id: str
    project: str
    key_id: str
    target: Target
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]
    answers: tuple[tuple[str, tuple[ToolCall, ...]], ...]
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float | None
    agents: tuple[str, ...] = ()
    ends: tuple[End, ...] = ()
    usd: float | None = None


TEMPERATURE = 1.0
"""Of a bare model where the client says nothing: OpenAI's default."""
_OPTIONS = tuple(option.name for option in fields(GenerationOptions))


def sampling_of(options: GenerationOptions, project: str) -> Sampling:
    """The options of a project's client, and OpenAI's defaults where it has given none."""
    given = {name: getattr(options, name) for name in _OPTIONS}
    given["temperature"] = TEMPERATURE if options.temperature is None else options.temperature
    given["top_p"] = 1.0 if options.top_p is None else options.top_p
    return Sampling(**given, owner=project)


def prepare(
    target: Target,
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]],
    options: GenerationOptions,
    store: Store,
    project: str = "",
    labels: frozenset[str] | None = None,
) -> tuple[EngineCall, ...]:
    """The call that a target makes of a conversation; of a route, every call it may take.

    A client's own system prompt takes the place of the agent's, as an example's does in a
    comparison.

    Args:
        project: that asks; an agent looks only into its documents.
        labels: of the documents that the client's key sees; None: all.

    Raises:
        UsageError: the client wants another form of answer than the agent enforces, or an agent's
            answer to messages without text.
        EffortError: see there.
        ConfigError: a route that cannot be followed.
    """
    sampling = sampling_of(options, project)
    if target.agent is None:
        check_effort(target.name, target.model, options.reasoning_effort)
        return (EngineCall(tuple(messages), tuple(tools), sampling, target.model),)
    if not any(message.content.strip() for message in messages):
        # As an example without input, it is no job of the agent's: the answer would be made up.
        raise UsageError(
            "there is nothing to answer: no message has any text.", fix="Send the text in one."
        )
    # The example's target is never looked at; an example has one.
    example = Example("request", (*messages, Message("assistant", "")), tools=tuple(tools))
    [path] = paths(target.agent, [example], store)
    calls = []
    for step in path:
        [request] = assemble(step.agent, [example], store, project, labels)
        call = _call(target.name, step, request, options, sampling)
        calls.append(replace(call, agent=step.id) if target.agent.route is not None else call)
    return tuple(calls)


def check_effort(name: str, model: str, effort: str | None) -> None:
    """See that a model can be told how much to reason, if it is.

    Args:
        name: as it was asked for.

    Raises:
        EffortError: it cannot.
    """
    if effort is not None and not is_remote(model):
        raise EffortError(
            f"reasoning_effort is for models at a provider, and {name} is none.",
            fix="Leave it out.",
        )


def _is_format_kept(made: Request, options: GenerationOptions) -> bool:
    """Whether all answers of an agent's format have that of the client, too, if it has one."""
    if options.schema is None and not options.json_object:
        return True
    wanted = {"type": "object"} if options.schema is None else options.schema
    return made.schema is not None and is_within(made.schema, wanted)


def _call(
    name: str, step: Step, made: Request, options: GenerationOptions, sampling: Sampling
) -> EngineCall:
    check_effort(name, step.agent.model, options.reasoning_effort)
    if made.schema is not None or made.choices is not None:
        if made.tools or not _is_format_kept(made, options):
            raise UsageError(
                f"{name} enforces the format of its answers; a request cannot set another "
                "format or tools."
            )
        sampling = replace(sampling, schema=made.schema, choices=made.choices, json_object=False)
    elif made.calls and options.schema is None and not options.json_object:
        sampling = replace(sampling, calls=True)
    if options.max_new_tokens is None:
        sampling = replace(sampling, max_new_tokens=made.max_new_tokens)
    if options.temperature is None:
        sampling = replace(sampling, temperature=made.temperature)
        if options.seed is None:
            sampling = replace(sampling, seed=made.seed)
    sampling = replace(sampling, confidence=step.sure is not None)
    passages = passages_in(made.messages) if step.agent.knowledge is not None else ""
    return EngineCall(
        made.messages, made.tools, sampling, step.agent.model, None, step.sure, passages
    )


class CallStream(Iterator[Piece | End]):
    """The stream of one call.

    Nothing is asked, and no model loaded, before the first piece is read. `close` may be called
    from any thread.

    Args:
        find: the engine; may take as long as it takes to load a model.

    Raises:
        DataError: the template refuses the messages. More as `StreamEngine` says.
    """

    def __init__(self, find: Callable[[], StreamEngine], call: EngineCall) -> None:
        self._find, self._call = find, call
        self._stream: Iterator[Piece | End] | None = None
        self._is_closed = False

    def __next__(self) -> Piece | End:
        if self._stream is not None:
            return next(self._stream)
        engine, call = self._find(), self._call
        if self._is_closed:  # while the model was loaded
            raise StopIteration
        if call.prompt is not None:
            self._stream = engine.complete(call.prompt, call.sampling)
            return next(self._stream)
        self._stream = engine.chat(call.messages, call.tools, call.sampling)
        return next(self._stream)

    def close(self) -> None:
        """End the stream and free the engine's slot."""
        self._is_closed = True
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


class RouteStream(Iterator[Piece | End]):
    """The stream of a path: an answer that may not be sure enough is held back until it is whole.

    Each call is made only when the one before has not sufficed; the end has the tokens of all, and
    the agents that were asked.

    Args:
        find: the engine of a model.
        path: the calls, the last of which answers whatever comes.

    Attributes:
        call: the one that was made last; once the stream has ended, the one that answered.
    """

    def __init__(self, find: Callable[[str], StreamEngine], path: Sequence[EngineCall]) -> None:
        self._find = find
        self._walk: Walk[EngineCall, End] = Walk(path)
        self.call = self._walk.call
        self._items = self._answer()
        self._current: CallStream | None = None
        self._is_closed = False

    @property
    def ends(self) -> tuple[End, ...]:
        """Of all calls that have one, whatever comes of the stream."""
        return self._walk.answers

    def __iter__(self) -> Iterator[Piece | End]:
        return self._items

    def __next__(self) -> Piece | End:
        return next(self._items)

    def close(self) -> None:
        """Free the slot of the engine that is answering; none is asked after it."""
        self._is_closed = True
        if self._current is not None:
            self._current.close()

    def _answer(self) -> Iterator[Piece | End]:
        is_given = False
        while not is_given and not self._is_closed:
            call = self.call = self._walk.call
            self._current = CallStream(partial(self._find, call.model), call)
            held: list[Piece] = []
            has_ended = False
            for item in self._current:  # past its end, too: only then is its connection kept
                if isinstance(item, Piece):
                    if call.sure is None:
                        yield item
                    else:
                        held.append(item)
                    continue
                has_ended, is_given = True, self._walk.take(item)
                if is_given:
                    yield from held
                    yield self._end()
            if not has_ended:  # it broke off, as who reads finds
                return

    def _end(self) -> End:
        walk = self._walk
        agents = tuple(call.agent for call in walk.calls if call.agent is not None)
        return replace(walk.answer, agents=agents, arm_ends=walk.answers) if agents else walk.answer
