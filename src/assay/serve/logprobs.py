"""Log-probabilities of tokens as OpenAI spells them: in chat's form and in the older one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.generate.serving import Piece, TokenLogprob


def content_logprobs(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Of chat: every token with its bytes and the likeliest ones at its place."""
    return {"content": token_logprobs(pieces), "refusal": None}


def token_logprobs(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """One entry a token."""
    return [
        {**_spelled(piece.token), "top_logprobs": [_spelled(top) for top in piece.top]}
        for piece in pieces
        if piece.token is not None
    ]


def legacy_logprobs(pieces: Sequence[Piece], start: int = 0) -> dict[str, Any]:
    """Of `/v1/completions`: four lists of one length; offsets count characters from `start`."""
    tokens, logprobs, tops, offsets = [], [], [], []
    for piece in pieces:
        if piece.token is None:
            continue
        tokens.append(piece.token.text)
        logprobs.append(_finite(piece.token.logprob))
        tops.append({top.text: _finite(top.logprob) for top in piece.top})
        offsets.append(start)
        start += len(piece.token.text)
    return {
        "tokens": tokens,
        "token_logprobs": logprobs,
        "top_logprobs": tops,
        "text_offset": offsets,
    }


def _finite(logprob: float) -> float:
    # JSON has no infinity; OpenAI writes this number for what is all but impossible.
    return max(logprob, -9999.0)


def _spelled(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": _finite(token.logprob), "bytes": list(token.bytes)}
