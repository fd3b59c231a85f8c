"""OpenAI's chat completions, as the many endpoints that are compatible with them speak them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assay.errors import UsageError
from assay.example import ToolCall
from assay.generate.batch import AnswerToken
from assay.generate.remote.wire import (
    Completion,
    CompletionRequest,
    NoAnswerError,
    RefusedParameter,
    Usage,
    count,
    error_fields,
    replace_surrogates,
)
from assay.generate.stream import End, Piece, Sampling, TokenLogprob

PATH = "/chat/completions"
HEADERS: dict[str, str] = {}
MOST_LOGPROBS = 20
"""Most tokens that the protocol tells beside the chosen one."""
_ROUNDED = 1e-2  # a log-probability above 0 by less is rounding
_CAN_DO_WITHOUT = ("stream_options", "top_logprobs", "logprobs", "seed", "temperature")
_UNKNOWN = ("unsupported_parameter", "unknown_parameter", "extra_forbidden")
"""Codes of errors that refuse a parameter whatever its value."""


def key_headers(key: str) -> dict[str, str]:
    """The header that carries the key, see `Wire`."""
    return {"Authorization": f"Bearer {key}"}


def request_body(request: CompletionRequest, *, stream: bool) -> dict[str, Any]:
    """See `Wire`; `max_tokens` is called `max_completion_tokens` where the endpoint wants that."""
    sampling, refused = request.sampling, request.refused
    if sampling.logit_bias:  # the ids are those of a tokenizer that only the provider knows
        raise UsageError("a model at a provider does not accept logit_bias.")
    messages = [message.to_dict() for message in request.messages]
    for message in messages:
        message.pop("weight", None)
    made: dict[str, Any] = {"model": request.model, "messages": messages}
    if sampling.max_new_tokens is not None:
        # A reply renames no limit that a budget rests on: who ignores the other name has none.
        renamed = "max_tokens" in refused and not sampling.at_most_once
        made["max_completion_tokens" if renamed else request.limit] = sampling.max_new_tokens
    if "temperature" not in refused:
        made["temperature"] = sampling.temperature
    if sampling.temperature > 0 and sampling.seed is not None and "seed" not in refused:
        made["seed"] = sampling.seed
    if sampling.top_p != 1:
        made["top_p"] = sampling.top_p
    for name in ("presence_penalty", "frequency_penalty"):
        if value := getattr(sampling, name):
            made[name] = value
    if sampling.reasoning_effort is not None:
        made["reasoning_effort"] = sampling.reasoning_effort
    if sampling.stop:
        made["stop"] = list(sampling.stop)
    if request.tools:
        made["tools"] = list(request.tools)
    chosen = sampling.tool_choice
    if chosen is not None:
        function = {"type": "function", "function": {"name": chosen}}
        made["tool_choice"] = chosen if chosen == "required" else function
    elif sampling.schema is not None:
        form = {"name": "answer", "schema": sampling.schema}
        made["response_format"] = {"type": "json_schema", "json_schema": form}
    elif sampling.json_object:
        made["response_format"] = {"type": "json_object"}
    if sampling.needed_logprobs is not None and not refused & {"logprobs", "top_logprobs"}:
        made |= {"logprobs": True, "top_logprobs": min(sampling.needed_logprobs, MOST_LOGPROBS)}
    if stream:
        made["stream"] = True
        if "stream_options" not in refused:
            made["stream_options"] = {"include_usage": True}
    return made


def refused_parameter(raw: bytes, sent: Mapping[str, Any]) -> RefusedParameter | None:
    """See `Wire`; by `error.param` and `error.code`.

    `max_tokens` is among them where the endpoint wants its other name, see `request_body`.
    """
    fields = error_fields(raw)
    name, unknown = fields.get("param"), fields.get("code") in _UNKNOWN
    if name == "max_tokens":
        return RefusedParameter(name) if unknown and name in sent else None
    if name not in _CAN_DO_WITHOUT or name not in sent:
        return None
    return RefusedParameter(name, None if unknown else json.dumps(sent[name]))


def parse_completion(tree: dict[str, Any], sampling: Sampling) -> Completion:
    """The first choice. Held back by a filter is an answer, too: what there is of it."""
    try:
        choice = tree["choices"][0]
        message = choice["message"]
        text, calls = _text(message.get("content")), message.get("tool_calls")
        called = tuple(_call(call) for call in calls or ())
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NoAnswerError("the answer has no message", is_retryable=True) from None
    return Completion(
        text=text,
        finish="length" if choice.get("finish_reason") == "length" else "stop",
        usage=usage_of(tree.get("usage")),
        calls=called,
        tokens=None if sampling.needed_logprobs is None else _tokens(choice.get("logprobs"), text),
    )


def parse_stream(events: Iterable[dict[str, Any]]) -> Iterator[Piece | End]:
    """See `Wire`. Usage may come with any chunk, or in one of its own after the last choice."""
    finish: str | None = None
    usage, calls = Usage(), _Calls()
    for tree in events:
        if isinstance(raw := tree.get("usage"), dict):
            usage = usage_of(raw)
        try:
            for choice in tree.get("choices") or ():
                delta = choice.get("delta") or {}
                calls.add(delta.get("tool_calls") or ())
                text = _text(delta.get("content"))
                logprobs = (choice.get("logprobs") or {}).get("content")
                if logprobs:
                    yield from _token_pieces(logprobs, text)
                elif text:
                    yield Piece(text)
                finish = choice.get("finish_reason") or finish
        except (KeyError, TypeError, AttributeError):
            raise NoAnswerError("an event of the stream is malformed", is_retryable=True) from None
    if finish is None:
        raise NoAnswerError("the answer was cut", is_retryable=True)
    yield End(
        "length" if finish == "length" else "stop",
        usage.prompt,
        usage.completion,
        usage.cached,
        usage.reasoning,
        calls.whole(),
    )


class _Calls:
    """Calls as they come in fragments, by their index."""

    def __init__(self) -> None:
        self._parts: dict[int, list[str]] = {}

    def add(self, deltas: Iterable[dict[str, Any]]) -> None:
        for delta in deltas:
            index = delta.get("index")
            if not isinstance(index, int):  # whole calls, from endpoints that do not stream them
                index = len(self._parts)
            parts = self._parts.setdefault(index, ["", "", ""])
            function = delta.get("function") or {}
            parts[0] = parts[0] or str(delta.get("id") or "")
            parts[1] = parts[1] or str(function.get("name") or "")
            parts[2] += str(function.get("arguments") or "")

    def whole(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(id or f"call_{index}", name, arguments or "{}")
            for index, (id, name, arguments) in sorted(self._parts.items())
            if name
        )


def usage_of(tree: Any) -> Usage:
    """Tokens, of which anything may be missing."""
    return Usage(
        count(tree, "prompt_tokens"),
        count(tree, "completion_tokens"),
        count(tree, "prompt_tokens_details", "cached_tokens"),
        count(tree, "completion_tokens_details", "reasoning_tokens"),
    )


def _call(call: dict[str, Any]) -> ToolCall:
    function = call["function"]
    return ToolCall(
        str(call.get("id") or "call_0"), str(function["name"]), str(function.get("arguments") or "")
    )


def _text(content: Any) -> str:
    """A message's text; some endpoints send a list of parts."""
    if isinstance(content, list):
        parts = (str(part.get("text") or "") for part in content if isinstance(part, dict))
        return replace_surrogates("".join(parts))
    return replace_surrogates(content) if isinstance(content, str) else ""


def _token_pieces(logprobs: Iterable[dict[str, Any]], text: str) -> Iterator[Piece]:
    """A piece for each token; text that its tokens do not spell comes without them."""
    try:
        tokens = [
            (_token(one), [_token(top) for top in one.get("top_logprobs") or ()])
            for one in logprobs
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        tokens = []
    if "".join(token.text for token, _ in tokens) != text:
        if text:
            yield Piece(text)
        return
    for token, top in tokens:
        yield Piece(token.text, token, tuple(top))


def _token(raw: dict[str, Any]) -> TokenLogprob:
    return TokenLogprob(str(raw["token"]), _logprob(raw), _bytes(raw))


def _tokens(logprobs: Any, text: str) -> tuple[AnswerToken, ...] | None:
    """The tokens with their log-probabilities; None unless they spell the text."""
    try:
        tokens = tuple(
            AnswerToken(
                _bytes(one).hex(),
                _logprob(one),
                tuple(
                    (_bytes(other).hex(), _logprob(other))
                    for other in one.get("top_logprobs") or ()
                ),
            )
            for one in logprobs["content"]
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    spelled = b"".join(bytes.fromhex(token.bytes) for token in tokens)
    return tokens if tokens and spelled == text.encode() else None


def _logprob(token: dict[str, Any]) -> float:
    """At most 0, whatever was rounded; raises ValueError where it is none at all."""
    value = float(token["logprob"])
    if not -math.inf < value < _ROUNDED:
        raise ValueError
    return min(value, 0.0)


def _bytes(token: dict[str, Any]) -> bytes:
    raw = token.get("bytes")
    return bytes(raw) if isinstance(raw, list) else str(token["token"]).encode()
