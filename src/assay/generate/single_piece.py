"""An engine that answers whole, behind a server: its answer comes as a single piece."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from assay.errors import ModelError, UsageError
from assay.example import Message
from assay.generate.batch import Answer, BatchEngine, Request, choice
from assay.generate.stream import (
    End,
    Piece,
    PromptTooLongError,
    RequestRefusedError,
    Sampling,
    TokenLogprob,
)

_DEFAULT = Sampling()
_CONTEXT = 2**20  # such engines count themselves what is too long


class SinglePieceEngine:
    """A `StreamEngine` over a `BatchEngine`.

    What a `BatchEngine`'s request has no word for (top_p, penalties, biases of tokens) is refused
    rather than left out.

    Args:
        fixed: no answer is drawn, so that top_p and penalties change none and are taken: where one
            answer alone is possible, it is in every nucleus and behind every penalty.
    """

    def __init__(
        self, engine: BatchEngine, context_length: int = _CONTEXT, *, fixed: bool = False
    ) -> None:
        self._engine, self.context_length = engine, context_length
        drawn = ("top_p", "presence_penalty", "frequency_penalty")
        self._refused = ("logit_bias", *(() if fixed else drawn))

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        """Yield the whole answer as one `Piece`, then its `End`."""
        for name in self._refused:
            if getattr(sampling, name) != getattr(_DEFAULT, name):
                raise UsageError(f"this model's engine does not support {name}.")
        request = Request(
            messages=tuple(messages),
            tools=tuple(tools),
            max_new_tokens=sampling.max_new_tokens or self.context_length,
            schema=sampling.answer_schema,
            choices=sampling.choices,
            temperature=sampling.temperature,
            seed=secrets.randbits(31) if sampling.seed is None else sampling.seed,
            logprobs=sampling.needed_logprobs,
        )
        length = self._engine.prompt_length(request)
        if length >= self.context_length:
            raise PromptTooLongError(
                f"the request has {length} tokens, but prompt and answer may have at most "
                f"{self.context_length} together."
            )
        [answer] = self._engine.answer([request])
        if not answer.has_answered:
            kind = RequestRefusedError if answer.finish == "refused" else ModelError
            raise kind(answer.error or "the model did not answer.")
        yield from _pieces(answer, sampling)
        end = End(
            "length" if answer.finish == "length" else "stop",
            answer.prompt_tokens,
            answer.completion_tokens,
            answer.cached_tokens or 0,
            answer.reasoning_tokens or 0,
        )
        if sampling.confidence:
            end = replace(end, logprob=answer.logprob, scored_tokens=answer.scored_tokens)
        yield end

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """Refused: such an engine knows conversations only."""
        raise UsageError("this model's engine answers conversations only.")


def _pieces(answer: Answer, sampling: Sampling) -> Iterator[Piece]:
    """The text up to the first stop text, with its tokens where they were asked for.

    Raises:
        UsageError: they were, and the engine does not tell them.
    """
    ends = [at for text in sampling.stop if (at := answer.text.find(text)) >= 0]
    text = answer.text[: min(ends, default=None)]
    if sampling.logprobs is None:
        yield Piece(text)
        return
    tokens = answer.tokens
    if tokens is None and answer.logprob is not None:
        tokens = choice(Request((), logprobs=0), answer.text, answer.logprob).tokens
    if tokens is None:
        raise UsageError("this model's engine does not tell log-probabilities.")
    if text != answer.text:  # the chances of the whole answer are not those of a part
        yield Piece(text)
        return
    for number, token in enumerate(tokens):
        top = tuple(_format(spelled, log) for spelled, log in token.top)
        yield Piece("" if number else text, _format(token.bytes, token.logprob), top)


def _format(spelled: str, logprob: float) -> TokenLogprob:
    raw = bytes.fromhex(spelled)
    return TokenLogprob(raw.decode(errors="replace"), logprob, raw)
