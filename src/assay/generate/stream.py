"""What a server needs of an engine: one conversation in, an answer out piece by piece.

A `batch.BatchEngine` answers many requests at once and is measured; a `StreamEngine` answers one at
a time as its tokens are made. Both render through `assay.chat`, so what was measured is what is
served.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from assay.errors import AssayError, ModelError
from assay.example import Message, ToolCall


class BusyError(ModelError):
    """The queue of an engine is full; `retry_after_s` says when to ask again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, fix=f"Ask again in {retry_after_s:.0f} s.")
        self.retry_after_s = retry_after_s


class RequestRefusedError(ModelError):
    """Nothing is wrong with the model: it takes no such request, though another one may."""


class PromptTooLongError(RequestRefusedError):
    """Prompt and answer do not fit into the model's context."""


class SetUpError(ModelError):
    """A provider cannot be asked as it is set up here, which no attempt mends.

    How it is set up is for whoever does that, and not for who asks: it stands behind `what`.
    """

    def __init__(self, name: str, why: AssayError) -> None:
        super().__init__(f"{name} cannot be used as it is configured here.", fix=str(why))


@dataclass(frozen=True, slots=True)
class AnswerGrammar:
    """Rules in Lark's form, as llguidance reads them.

    Attributes:
        over_texts: for an engine to which every token is a text but control tokens.
        over_tokens: for one that reads the model's tokenizer, to which some more are no text.
        of_text: of an answer's text, in which control tokens are not.
    """

    over_texts: str
    over_tokens: str
    of_text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the answer's tokens are drawn.

    Attributes:
        max_new_tokens: at most so many; None: as many as the context has room for.
        temperature: 0 is greedy.
        seed: None draws one.
        stop: texts before which the answer ends; they are not part of it.
        logprobs: None: none are told; n: of each token, and of the n most likely ones beside it.
        logit_bias: token id -> what is added to its logit.
        schema: JSON Schema that the answer must follow.
        json_object: the answer must be some JSON object.
        choices: the answer must be one of these texts.
        calls: a call has to be one of the tools', with arguments that fit; text is free. There are
            tools.
        grammar: what the answer must follow, which an engine makes of `calls`.
        confidence: the end tells the answer's log-probability.
        tool_choice: `required`, or the name of the tool that must be called; an engine that reads
            calls out of the text follows `schema` instead, which then is the call's.
        reasoning_effort: the provider's word for how much its model reasons; other models are not
            asked with one.
        at_most_once: an attempt that may have cost something is not repeated.
        owner: who asks, a project: what was computed or spelled for another is never gone on from,
            since a count or the time that it takes would tell what others have asked.
    """

    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    schema: dict[str, Any] | None = field(default=None, hash=False)
    json_object: bool = False
    choices: tuple[str, ...] | None = None
    calls: bool = False
    grammar: AnswerGrammar | None = None
    confidence: bool = False
    tool_choice: str | None = None
    reasoning_effort: str | None = None
    at_most_once: bool = False
    owner: str = ""

    @property
    def answer_schema(self) -> dict[str, Any] | None:
        """The JSON Schema that the answer must follow, whichever of the two asked for it."""
        return {"type": "object"} if self.json_object else self.schema

    @property
    def needed_logprobs(self) -> int | None:
        """`logprobs` that the engine must know: the confidence is their sum, asked for or not."""
        return 0 if self.logprobs is None and self.confidence else self.logprobs


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token, its bytes as text where they are, and its log-probability (natural log).

    `id` is its number in the vocabulary; None where the engine does not tell.
    """

    text: str
    logprob: float
    bytes: bytes
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of an answer.

    Attributes:
        text: whole characters; "" while a character's bytes are incomplete.
        token: None unless `Sampling.logprobs` asked for it.
        top: the most likely tokens at this place, likewise.
    """

    text: str
    token: TokenLogprob | None = None
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """The last thing that a stream yields. What the engine does not count is None, never 0.

    Attributes:
        finish: `stop`: the model or a stop text ended it; `length`: cut at the limit.
        cached_tokens: of the prompt, those whose keys and values were reused.
        reasoning_tokens: of the completion, those that are not shown.
        calls: tools called by an engine that has calls of their own beside the text.
        model: `remote:PROVIDER/MODEL` where a provider's model has answered.
        logprob, scored_tokens: as `batch.Answer` has them, where `Sampling.confidence` asked.
        agents: ids of the agents that were asked, where a route chose; the last one answered.
        arm_ends: the ends of their answers, where a route chose; tokens of this one are their sums.
    """

    finish: Literal["stop", "length"]
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None = 0
    reasoning_tokens: int | None = 0
    calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    logprob: float | None = None
    scored_tokens: int | None = None
    agents: tuple[str, ...] = ()
    arm_ends: tuple[End, ...] = ()


def add_confidence(items: Iterable[Piece | End], sampling: Sampling) -> Iterator[Piece | End]:
    """A stream with `Sampling.needed_logprobs`, as it was asked for: their sum in its end where the
    confidence was asked for, the tokens where they were.

    A part of the text that came without its token leaves the sum unknown.
    """
    if not sampling.confidence:
        yield from items
        return
    known, logprob, count = True, 0.0, 0
    for item in items:
        if isinstance(item, End):
            yield replace(item, logprob=logprob, scored_tokens=count) if known and count else item
            continue
        if item.token is None:
            known = known and not item.text
        elif item.token.bytes:  # else it is the stop token
            logprob, count = logprob + item.token.logprob, count + 1
        if sampling.logprobs is not None:
            yield item
        elif item.text:
            yield Piece(item.text)


class StreamEngine(Protocol):
    """One model (base, or base with a version), ready to answer. Safe to call from many threads.

    A stream is a blocking iterator of `Piece`s and one `End`. Closing it early (`close()`, as
    leaving a generator does) frees its slot at once. It raises `BusyError` before the first piece
    where too many wait, `PromptTooLongError` where it cannot fit, `ModelError` for the rest.
    """

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer may have together."""

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        """Continue a conversation, rendered by the model's chat template (`assay.chat`)."""

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """Continue a text or token ids as they are."""


class EnginePool(Protocol):
    """Finds (and loads) the engine of a model; forgets the least recently used ones."""

    def engine(self, model: str) -> StreamEngine:
        """The engine of a model reference or of `version:ID`.

        Raises:
            ModelError: there is no such model, or it cannot be loaded.
        """

    def close(self) -> None:
        """Free everything; streams under way end with an error."""
