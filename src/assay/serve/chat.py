"""`/v1/chat/completions`, as in https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, StringConstraints, model_validator

from assay.accounts.keys import Caller
from assay.agent.answering import GenerationOptions
from assay.example import Message, ToolCall
from assay.generate.stream import End, Piece
from assay.serve.auth import RequiredScope
from assay.serve.conversation import (
    MOST_CHOICES,
    MOST_MESSAGES,
    MOST_TOOLS,
    MOST_TOP_LOGPROBS,
    ChatMessage,
    ConversationRequest,
    ResponseFormat,
    Stop,
    Tokens,
    Tool,
    ToolChoice,
    parse_stops,
)
from assay.serve.errors import of_any
from assay.serve.exchange import Exchange, converse
from assay.serve.logprobs import content_logprobs, tokens_of
from assay.serve.route import JsonObject, JsonRoute, Strict
from assay.serve.stored_completions import CompletionRecord, open_record
from assay.serve.streams import DONE, Events, format_event

router = APIRouter(tags=["chat"], route_class=JsonRoute)


class StreamOptions(Strict):
    """What a stream brings beside the answer. Obfuscation is padding; there is none here."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(ConversationRequest):
    """The body. Fields of OpenAI's that would change the answer and cannot be followed are refused.

    `user`, `safety_identifier`, `prompt_cache_key`, `prompt_cache_retention`, `prediction` and
    `service_tier` do not change an answer; they are taken and not used. `metadata` is kept with an
    answer that `store` asks to keep.
    """

    FORM = "response_format"
    messages: Annotated[
        list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)
    ]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stop: Stop = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=MOST_TOOLS, fail_fast=True)] | None = None
    tool_choice: ToolChoice | None = None
    stream_options: StreamOptions | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=4, fail_fast=True)] | None = None
    prediction: JsonObject | None = None
    functions: None = None
    function_call: None = None
    audio: None = None
    reasoning_effort: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,20}$")] | None = None
    verbosity: None = None
    web_search_options: None = None

    @model_validator(mode="after")
    def _agrees(self) -> ChatRequest:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("`max_tokens` and `max_completion_tokens` cannot be set together")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("`top_logprobs` needs `logprobs` to be true")
        if self.stream_options is not None and not self.stream:
            raise ValueError("`stream_options` needs `stream` to be true")
        return self

    def _format(self) -> ResponseFormat | None:
        """Of the answer's text; where a call is forced there is none."""
        given = self.response_format
        return None if given is None or given.type == "text" or self.is_call_forced() else given

    def to_messages(self) -> list[Message]:
        """The conversation, as the rest of Assay has it."""
        return [message.to_message() for message in self.messages]

    def to_kept(self) -> list[dict[str, Any]]:
        """The conversation, as it is kept where `store` asks for it."""
        return [
            message.model_dump(mode="json", exclude_none=True, exclude={"parsed"})
            for message in self.messages
        ]

    @property
    def count(self) -> int:
        """How many answers are wanted."""
        return self.n or 1

    def options(self) -> GenerationOptions:
        """Options of generation, see `ConversationRequest.options`."""
        form = self._format()
        schema = self.forced_schema()
        if form is not None and form.json_schema is not None:
            schema = form.json_schema.schema_
        return self.with_sampling(
            max_new_tokens=self.max_completion_tokens or self.max_tokens,
            stop=parse_stops(self.stop),
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            schema=schema,
            json_object=form is not None and form.type == "json_object",
            tool_choice=self.forced_tool(),
            reasoning_effort=self.reasoning_effort,
        )


@router.post("/v1/chat/completions")
async def create(
    request: Request,
    body: ChatRequest,
    caller: Annotated[Caller, Depends(RequiredScope("chat"))],
) -> Response:
    """Answer a conversation, whole or as a stream."""
    record = await open_record(request, caller, body, body.to_kept()) if body.store else None
    exchange = await converse(request, caller, body, "chatcmpl-")
    if body.stream:
        return Events(_events(exchange, body, record), exchange.close)
    ends = {number: item async for number, item in exchange.items() if isinstance(item, End)}
    completion = _completion(exchange, body, ends)
    if record is not None:
        await record.keep(completion)
    return JSONResponse(completion)


def _completion(exchange: Exchange, body: ChatRequest, ends: Mapping[int, End]) -> dict[str, Any]:
    """The whole answer, once all of it has ended."""
    choices = []
    for number, end in sorted(ends.items()):
        answer = exchange.answers[number]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.text if answer.text or not answer.calls else None,
            "refusal": None,
            "annotations": [],
        }
        if answer.calls:
            message["tool_calls"] = [_call(call) for call in answer.calls]
        choices.append(
            {
                "index": number,
                "message": message,
                "logprobs": content_logprobs(answer.pieces) if body.logprobs else None,
                "finish_reason": _finish(end),
            }
        )
    return {**_head(exchange, "chat.completion"), "choices": choices, "usage": usage_of(exchange)}


async def _events(
    exchange: Exchange, body: ChatRequest, record: CompletionRecord | None
) -> AsyncIterator[str]:
    """A chunk for each piece; calls as a whole once they are complete."""
    ends: dict[int, End] = {}
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    head = _head(exchange, "chat.completion.chunk")

    def chunk(number: int, delta: dict[str, Any], **rest: Any) -> str:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": None, **rest}
        usage = {"usage": None} if with_usage else {}
        return format_event({**head, "choices": [choice], **usage})

    try:
        for number in range(len(exchange.answers)):
            yield chunk(number, {"role": "assistant", "content": "", "refusal": None})
        async for number, item in exchange.items():
            if isinstance(item, Piece):
                logprobs = content_logprobs([item]) if body.logprobs and tokens_of([item]) else None
                if item.text or logprobs:
                    yield chunk(number, {"content": item.text}, logprobs=logprobs)
                continue
            ends[number] = item
            for delta in _call_deltas(item.calls):
                yield chunk(number, delta)
            yield chunk(number, {}, finish_reason=_finish(item))
        if record is not None:  # before its end is told: who lists them may come at once
            await record.keep(_completion(exchange, body, ends))
        if with_usage:
            yield format_event({**head, "choices": [], "usage": usage_of(exchange)})
        yield DONE
    except Exception as error:
        yield format_event(of_any(error).body())


def _head(exchange: Exchange, kind: str) -> dict[str, Any]:
    return {
        "id": exchange.id,
        "object": kind,
        "created": exchange.created,
        "model": exchange.model,
        "system_fingerprint": exchange.fingerprint,
        "service_tier": "default",
    }


def usage_of(exchange: Exchange) -> dict[str, Any] | None:
    """Tokens in the words of chat and completions; None where they are not known."""
    receipt = exchange.receipt
    if receipt is None or receipt.prompt_tokens is None or receipt.completion_tokens is None:
        return None
    prompt, completion = receipt.prompt_tokens, receipt.completion_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": receipt.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": receipt.reasoning_tokens,
            "audio_tokens": 0,
        },
    }


def _finish(end: End) -> str:
    return "tool_calls" if end.calls else end.finish


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _call_deltas(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """First who is called, then with what, as OpenAI streams it."""
    deltas = []
    for index, call in enumerate(calls):
        begun = {**_call(call), "index": index, "function": {"name": call.name, "arguments": ""}}
        arguments = {"index": index, "function": {"arguments": call.arguments}}
        deltas += [{"tool_calls": [begun]}, {"tool_calls": [arguments]}]
    return deltas
