"""What every engine looks like from outside: requests in, answers out, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from assay.example import Message
from assay.progress import SILENT, Progress


@dataclass(frozen=True, slots=True)
class Request:
    """One conversation to be continued.

    Attributes:
        messages: the turns so far.
        tools: OpenAI tool definitions.
        max_new_tokens: at most this many tokens are generated.
        schema: JSON Schema the answer must follow (constrained decoding), or None.
        choices: the answer must be one of these texts (constrained decoding), or None.
        calls: a call has to be one of the tools', with arguments that fit; text is free. There are
            tools.
        temperature: 0 is greedy.
        seed: of the sampling; with temperature 0 without effect.
        logprobs: n asks for the answer's tokens, each with its log-probability and those of the n
            most likely ones there; an engine that cannot tell them leaves `Answer.tokens` None.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    max_new_tokens: int = 256
    schema: dict[str, Any] | None = field(default=None, hash=False)
    choices: tuple[str, ...] | None = None
    calls: bool = False
    temperature: float = 0.0
    seed: int = 0
    logprobs: int | None = None

    @property
    def input(self) -> str:
        """The same text as `Example.input` of the example that the request was made of."""
        kept = [m.content for m in self.messages if m.role not in ("system", "developer")]
        return "\n".join(kept)


@dataclass(frozen=True, slots=True)
class AnswerToken:
    """One token of an answer.

    Attributes:
        bytes: what it spells, in hexadecimal digits: a token may end inside a character.
        logprob: its log-probability (natural log).
        top: (bytes, log-probability) of the most likely tokens at its place.
    """

    bytes: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    Attributes:
        text: the answer, without stop tokens; "" when it failed.
        finish: `stop` (the model ended it), `length` (cut at the limit), `refused` (no such request
            is taken, whenever it is sent: too long, held back by a filter; scored 0), `error` (an
            outage after retries: the candidate becomes incomplete).
        prompt_tokens: tokens of the rendered request; None where the engine does not count.
        completion_tokens: tokens generated, the stop token included; None likewise.
        logprob: sum of the log-probabilities (natural log) of the text's tokens, or None. The stop
            token is left out: engines end an answer by different ones.
        error: the reason when finish is `refused` or `error`.
        tokens: of the text, where they were asked for and are known; the stop token is not told.
        cached_tokens: of the prompt, those that a provider had cached; None where it does not tell.
        reasoning_tokens: of the completion, those that are not shown; None likewise.
    """

    text: str
    finish: Literal["stop", "length", "refused", "error"] = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprob: float | None = None
    error: str | None = None
    tokens: tuple[AnswerToken, ...] | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def has_answered(self) -> bool:
        """Whether the model answered, well or badly."""
        return self.finish in ("stop", "length")

    @property
    def scored_tokens(self) -> int | None:
        """Tokens that `logprob` is the sum of; None where the answer was one choice."""
        if self.tokens is not None or self.completion_tokens is None:
            return None if self.tokens is None else len(self.tokens)
        return self.completion_tokens - (self.finish == "stop")

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Answer:
        """The inverse of `dataclasses.asdict`, after a way through JSON."""
        raw_tokens = raw.get("tokens")
        tokens = None
        if raw_tokens is not None:
            tokens = tuple(
                AnswerToken(t["bytes"], t["logprob"], tuple((b, p) for b, p in t["top"]))
                for t in raw_tokens
            )
        return cls(**{**raw, "tokens": tokens})


def choice(
    request: Request, text: str, logprob: float, chances: Iterable[tuple[str, float]] = ()
) -> Answer:
    """An answer that was chosen as a whole: where tokens are asked for, it is one.

    Args:
        chances: what could have been chosen, with log-probabilities (natural log).
    """
    tokens = None
    if request.logprobs is not None:
        likely = sorted(chances, key=lambda pair: -pair[1])[: request.logprobs]
        top = tuple((label.encode().hex(), min(0.0, float(log))) for label, log in likely)
        tokens = (AnswerToken(text.encode().hex(), logprob, top),)
    return Answer(text=text, logprob=logprob, tokens=tokens)


class BatchEngine(Protocol):
    """Answers requests. Implementations live beside this file, one a file."""

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request: engine, model, dtype, versions.

        Part of the key under which finished answers are kept.
        """

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """One answer for each request, in their order."""

    def prompt_length(self, request: Request) -> int:
        """Tokens of the rendered request (0 where the engine does not count them)."""
