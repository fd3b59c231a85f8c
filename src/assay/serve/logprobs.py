"""Log-probabilities of tokens as OpenAI spells them: in chat's form and in the older one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.generate.stream import Piece, TokenLogprob


def tokens_of(pieces: Sequence[Piece]) -> list[tuple[TokenLogprob, tuple[TokenLogprob, ...]]]:
    """The tokens of an answer and the likeliest ones beside each.

    Engines tell of the token that ends it, too; it has no bytes and is no part of the text.
    """
    return [
        (piece.token, piece.top)
        for piece in pieces
        if piece.token is not None and piece.token.bytes
    ]


def content_logprobs(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Of chat: every token with its bytes and the likeliest ones at its place."""
    return {"content": token_logprobs(pieces), "refusal": None}


def token_logprobs(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Log-probabilities in the form of responses, one entry a token."""
    return [
        {**_format_token(token), "top_logprobs": [_format_token(one) for one in top]}
        for token, top in tokens_of(pieces)
    ]


def legacy_logprobs(pieces: Sequence[Piece], start: int = 0) -> dict[str, Any]:
    """Of `/v1/completions`: four lists of one length; offsets count characters from `start`."""
    tokens, logprobs, tops, offsets = [], [], [], []
    for token, top in tokens_of(pieces):
        tokens.append(token.text)
        logprobs.append(_finite(token.logprob))
        tops.append({one.text: _finite(one.logprob) for one in top})
        offsets.append(start)
        start += len(token.text)
    return {
        "tokens": tokens,
        "token_logprobs": logprobs,
        "top_logprobs": tops,
        "text_offset": offsets,
    }


def _finite(logprob: float) -> float:
    # JSON has no infinity; OpenAI writes this number for what is all but impossible.
    return max(logprob, -9999.0)


def _format_token(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": _finite(token.logprob), "bytes": list(token.bytes)}
