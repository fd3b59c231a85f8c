"""An engine that answers whole, behind a server: its answer comes as a single piece."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from assay.errors import ModelError, UsageError
from assay.example import Message
from assay.generate.batch import BatchEngine, Request
from assay.generate.stream import (
    End,
    Piece,
    PromptTooLongError,
    RequestRefusedError,
    Sampling,
)

_DEFAULT = Sampling()
_CONTEXT = 2**20  # such engines count themselves what is too long


class SinglePieceEngine:
    """A `StreamEngine` over a `BatchEngine`.

    What a `BatchEngine`'s request has no word for (top_p, penalties, biases, stop texts,
    log-probabilities) is refused rather than left out.
    """

    def __init__(self, engine: BatchEngine, context_length: int = _CONTEXT) -> None:
        self._engine, self.context_length = engine, context_length

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        """Yield the whole answer as one `Piece`, then its `End`."""
        names = ("top_p", "presence_penalty", "frequency_penalty", "logit_bias", "stop", "logprobs")
        for name in names:
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
            logprobs=0 if sampling.confidence else None,
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
        yield Piece(answer.text)
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
