"""What llama.cpp's server is asked, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.errors import ModelError
from assay.generate.server_engine import guidance
from assay.generate.stream import End, Piece, PromptTooLongError, Sampling, TokenLogprob


def body_of(ids: Sequence[int], sampling: Sampling, context: int) -> dict[str, Any]:
    """The request for a continuation of `ids`, without slot and adapters.

    Raises:
        ConfigError: a schema or choices that cannot be enforced.
    """
    room, limit = context - len(ids), sampling.max_new_tokens
    greedy = sampling.temperature <= 0
    body: dict[str, Any] = {
        "prompt": list(ids),
        "n_predict": room if limit is None else min(limit, room),
        "temperature": sampling.temperature,
        "top_k": 1 if greedy else 0,
        "top_p": sampling.top_p,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "repeat_last_n": context,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        # The order of OpenAI's definition: the nucleus is cut from the tempered distribution.
        "samplers": ["penalties", "top_k"] if greedy else ["penalties", "temperature", "top_p"],
        "stop": [text for text in sampling.stop if text],
        "logit_bias": [[token, bias] for token, bias in sampling.logit_bias.items()],
        "stream": True,
        "return_progress": True,  # a chance to notice a hang-up while a prompt is computed
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed % ((1 << 32) - 1)  # the last one would mean: any
    if sampling.needed_logprobs is not None:
        body["n_probs"] = max(1, sampling.needed_logprobs)
    if (grammar := guidance(sampling)) is not None:
        body["grammar"] = grammar
    return body


def end_of(chunk: dict[str, Any]) -> End | None:
    """The end of the stream, if this is it.

    Raises:
        PromptTooLongError, ModelError: the server says that it failed.
    """
    if (error := chunk.get("error")) is not None:
        kind = (
            PromptTooLongError if error.get("type") == "exceed_context_size_error" else ModelError
        )
        raise kind(f"llama.cpp says: {error.get('message', error)}.")
    reason = chunk["choices"][0].get("finish_reason")
    if reason is None:
        return None
    usage = chunk.get("usage") or {}
    return End(
        finish="length" if reason == "length" else "stop",
        prompt_tokens=usage.get("prompt_tokens", 0),
        completion_tokens=usage.get("completion_tokens", 0),
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
    )


def piece_of(chunk: dict[str, Any], logprobs: int | None) -> Piece | None:
    """The next part of the answer; None for a chunk that only tells of progress."""
    choice = chunk["choices"][0]
    text = choice.get("text") or ""
    content = (choice.get("logprobs") or {}).get("content") or []
    if logprobs is None or not content:
        return Piece(text) if text else None
    token = content[-1]
    return Piece(
        text,
        _token(token),
        tuple(_token(raw) for raw in token.get("top_logprobs", ())[:logprobs]),
    )


def _token(raw: dict[str, Any]) -> TokenLogprob:
    return TokenLogprob(raw["token"], float(raw["logprob"]), bytes(raw["bytes"]), raw["id"])
