"""What vLLM's `/v1/completions` is asked, and what it says.

Prompts go as token ids, and every number that the server could take from a model's own
`generation_config.json` is named, so that what was measured is what is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from assay.errors import ModelError
from assay.generate.server_engine import guidance
from assay.generate.stream import End, Piece, Sampling, TokenLogprob

MOST_LOGPROBS = 20
"""A server tells of more only when it was started with a larger `--max-logprobs`."""
_ID = "token_id:"


def body_of(
    model: str, ids: Sequence[int], sampling: Sampling, room: int, stop_ids: Collection[int]
) -> dict[str, Any]:
    """The request for a continuation of `ids`.

    Args:
        room: tokens that the context has left.
        stop_ids: the tokens that end an answer.

    Raises:
        ConfigError: a schema or choices that cannot be enforced.
    """
    limit = sampling.max_new_tokens
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(ids),
        "add_special_tokens": False,
        "max_tokens": room if limit is None else min(limit, room),
        "temperature": max(0.0, sampling.temperature),
        "top_p": sampling.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stop": [text for text in sampling.stop if text],
        "stop_token_ids": sorted(stop_ids),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.owner:
        body["cache_salt"] = sampling.owner  # blocks that were computed under another are not used
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if sampling.seed is not None:
        body["seed"] = sampling.seed % 2**63
    if sampling.needed_logprobs is not None:
        body["logprobs"] = min(sampling.needed_logprobs, MOST_LOGPROBS)
        body["return_tokens_as_token_ids"] = True
    if (grammar := guidance(sampling, "over_tokens")) is not None:
        body["structured_outputs"] = {"grammar": grammar}
    return body


def pieces_of(choice: dict[str, Any], limit: int | None, names: TokenNames) -> Iterator[Piece]:
    """What one event says of an answer; of several tokens, the last one carries the text."""
    text, logprobs = choice.get("text") or "", choice.get("logprobs")
    if limit is None or not logprobs or not logprobs.get("tokens"):
        if text:
            yield Piece(text)
        return
    tokens, last = logprobs["tokens"], len(logprobs["tokens"]) - 1
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    rows = zip(tokens, logprobs["token_logprobs"], tops, strict=True)
    for place, (token, logprob, top) in enumerate(rows):
        likeliest = sorted((top or {}).items(), key=lambda entry: -entry[1])[:limit]
        yield Piece(
            text if place == last else "",
            names.describe(token, logprob),
            tuple(names.describe(name, value) for name, value in likeliest),
        )


def end_of(finish: str | None, usage: dict[str, Any]) -> End:
    """The end of a stream.

    Raises:
        ModelError: the server has given the answer up.
    """
    if finish not in ("stop", "length"):
        raise ModelError(f"vLLM did not finish the answer ({finish or 'it was cut off'}).")
    return End(
        "length" if finish == "length" else "stop",
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        # Present only where the server was started with `--enable-prompt-tokens-details`.
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
    )


class TokenNames:
    """Tokens by `token_id:N`, spelled by the model's own tokenizer."""

    def __init__(self, tokenizer: Any, stop_ids: Collection[int]) -> None:
        self._tokenizer, self._stop_ids = tokenizer, stop_ids

    def describe(self, token: str, logprob: float) -> TokenLogprob:
        """A token that vLLM tells of; one that ends the answer has no text."""
        if not token.startswith(_ID):  # a server from before it could tell ids
            return TokenLogprob(token, logprob, token.encode())
        id = int(token.removeprefix(_ID))
        text = "" if id in self._stop_ids else self._tokenizer.decode([id])
        return TokenLogprob(text, logprob, text.encode(), id)
