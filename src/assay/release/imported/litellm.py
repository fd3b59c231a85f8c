"""`litellm`: the StandardLoggingPayload of LiteLLM, one a line, as its loggers write it: of chat
and text completions, `/v1/responses` and Anthropic's `/v1/messages`.

Fields: `id`, `call_type`, `status`, `messages`, `response`, `model`, `custom_llm_provider`,
`prompt_tokens`, `completion_tokens`, `response_cost`, `startTime`, `endTime`, `response_time`,
`model_parameters.tools`. https://docs.litellm.ai/docs/proxy/logging_spec
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.release.imported.litellm_messages import of_messages, of_responses, tools_of_messages
from assay.release.imported.raw import (
    Found,
    RawCall,
    TraceFormat,
    Unusable,
    answered,
    asked,
    between,
    finish_of,
    iso,
    loaded,
    mapping,
    text,
    time,
)

_RESPONSES = ("responses", "aresponses")
_MESSAGES = ("anthropic_messages", "aanthropic_messages")
_COMPLETIONS = ("completion", "acompletion", "text_completion", "atext_completion")
_NOT_LOGGED = [{"role": "user", "content": "redacted-by-litellm"}]
_FIELDS = {"custom_llm_provider", "model_group", "startTime", "response_cost"}


def matches(record: dict[str, Any]) -> bool:
    """It tells the type of call, and whom LiteLLM asked or when."""
    return "call_type" in record and bool(_FIELDS & record.keys())


def read(record: dict[str, Any], path: Path) -> Iterator[Found]:
    """Its one call, unless it is of another kind (embeddings, images)."""
    kind = record.get("call_type")
    if kind not in (*_COMPLETIONS, *_RESPONSES, *_MESSAGES):
        yield None
        return
    if record.get("status") == "failure":
        yield Unusable("the call failed, so there is no answer.")
        return
    start, end = time(record.get("startTime")), time(record.get("endTime"))
    parameters = mapping(record.get("model_parameters"))
    messages, response = loaded(record.get("messages")), loaded(record.get("response"))
    if isinstance(messages, dict) and "messages" in messages:
        messages = messages["messages"]
    if not messages or not response or messages == _NOT_LOGGED:
        yield Unusable(
            "messages or answer were not logged; LiteLLM leaves them out where "
            "turn_off_message_logging is set."
        )
        return
    answer, finish = answered(response), finish_of(response)
    offered = parameters.get("tools") or parameters.get("functions")
    if kind in _RESPONSES:
        found = of_responses(messages, mapping(response), parameters)
        if isinstance(found, Unusable):
            yield found
            return
        messages, answer, finish = found
    elif kind in _MESSAGES:
        messages, offered = of_messages(messages), tools_of_messages(offered)
        if isinstance(messages, Unusable):
            yield messages
            return
    details = mapping(mapping(mapping(response).get("usage")).get("prompt_tokens_details"))
    seconds, usd = between(start, end), record.get("response_cost")
    yield RawCall(
        messages=asked(messages),
        answer=answer,
        key=text(record.get("id")) or "",
        id=record.get("id"),
        tools=offered,
        model=record.get("model"),
        provider=record.get("custom_llm_provider"),
        prompt_tokens=record.get("prompt_tokens"),
        completion_tokens=record.get("completion_tokens"),
        cached_tokens=details.get("cached_tokens"),
        usd=usd or (usd if record.get("cache_hit") else None),  # 0 where no price is known
        # Of a stream, the time it gives is that to the first token.
        seconds=record.get("response_time") if seconds is None else seconds,
        at=iso(start),
        finish=finish,
    )


FORMAT = TraceFormat("litellm", matches, read)
