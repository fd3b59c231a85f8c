"""`/v1/completions`: a text or token ids, continued as they are, without a chat template."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from assay.accounts.keys import Caller
from assay.generate.stream import End
from assay.project.answer.gateway import Gateway, NotConversationError
from assay.serve.auth import RequiredScope
from assay.serve.chat import StreamOptions, usage_of
from assay.serve.conversation import MOST_CHOICES, SamplingFields, Stop, Tokens, parse_stops
from assay.serve.errors import invalid, of_any
from assay.serve.exchange import Exchange, begin
from assay.serve.logprobs import legacy_logprobs, tokens_of
from assay.serve.route import JsonRoute
from assay.serve.streams import DONE, Events, format_event

router = APIRouter(tags=["completions"], route_class=JsonRoute)

MOST_LOGPROBS = 5
MAX_TOKENS = 16
"""Where the request says nothing, as at OpenAI."""
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
MOST_TOKENS = 2**17
TokenIds = Annotated[list[TokenId], Field(max_length=MOST_TOKENS, fail_fast=True)]
Several = Field(max_length=MOST_CHOICES, fail_fast=True)
Prompt = str | TokenIds | Annotated[list[str], Several] | Annotated[list[TokenIds], Several]


class CompletionRequest(SamplingFields):
    """The body. `best_of` and `suffix` are refused."""

    prompt: Prompt
    max_tokens: Tokens | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stop: Stop = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    echo: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    best_of: None = None
    suffix: None = None

    def prompts(self) -> list[str | list[int]]:
        """Each prompt of its own.

        Raises:
            ApiError: none, an empty one, or too many.
        """
        given = self.prompt
        several: list[Any] = [given] if isinstance(given, str) else list(given)
        if several and isinstance(several[0], int):
            several = [several]
        if not several or not all(several) or len(several) > MOST_CHOICES:
            raise invalid(
                f"Invalid value for 'prompt': 1 to {MOST_CHOICES} prompts, none of them empty.",
                "prompt",
            )
        if self.echo and (self.logprobs is not None or not isinstance(several[0], str)):
            raise invalid(
                "Unsupported parameter: 'echo' needs a text and excludes 'logprobs'.",
                "echo",
                "unsupported_parameter",
            )
        return several


@router.post("/v1/completions")
async def create(
    request: Request,
    body: CompletionRequest,
    caller: Annotated[Caller, Depends(RequiredScope("chat"))],
) -> Response:
    """Continue a text, whole or as a stream."""
    prompts = body.prompts()
    options = body.with_sampling(
        max_new_tokens=body.max_tokens or MAX_TOKENS,
        stop=parse_stops(body.stop),
        logprobs=body.logprobs,
    )
    gateway: Gateway = request.app.state.gateway
    open = partial(gateway.complete, caller, body.model, prompts, options, body.n or 1)
    try:
        exchange = await begin(request, open, "cmpl-", is_whole=not body.stream)
    except NotConversationError:
        raise invalid(
            f"{body.model} answers conversations; use /v1/chat/completions.", "model"
        ) from None
    echoed = [str(p) if body.echo else "" for p in prompts for _ in range(body.n or 1)]
    if body.stream:
        return Events(_events(exchange, body, echoed), exchange.close)
    return JSONResponse(await _whole(exchange, body, echoed))


async def _whole(exchange: Exchange, body: CompletionRequest, echoed: list[str]) -> dict[str, Any]:
    choices = [
        {
            "index": number,
            "text": echoed[number] + exchange.answers[number].text,
            "logprobs": None
            if body.logprobs is None
            else legacy_logprobs(exchange.answers[number].pieces),
            "finish_reason": item.finish,
        }
        async for number, item in exchange.items()
        if isinstance(item, End)
    ]
    choices.sort(key=itemgetter("index"))
    return {**_head(exchange), "choices": choices, "usage": usage_of(exchange)}


async def _events(
    exchange: Exchange, body: CompletionRequest, echoed: list[str]
) -> AsyncIterator[str]:
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    offsets = [0] * len(exchange.answers)

    def chunk(number: int, text: str, logprobs: Any = None, finish: str | None = None) -> str:
        choice = {"index": number, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return format_event({**_head(exchange), "choices": [choice]})

    try:
        for number, text in enumerate(echoed):
            if text:
                yield chunk(number, text)
        async for number, item in exchange.items():
            if isinstance(item, End):
                yield chunk(number, "", finish=item.finish)
                continue
            logprobs = None
            if body.logprobs is not None and (tokens := tokens_of([item])):
                logprobs = legacy_logprobs([item], offsets[number])
                offsets[number] += len(tokens[0][0].text)
            if item.text or logprobs:
                yield chunk(number, item.text, logprobs)
        if with_usage:
            yield format_event({**_head(exchange), "choices": [], "usage": usage_of(exchange)})
        yield DONE
    except Exception as error:
        yield format_event(of_any(error).body())


def _head(exchange: Exchange) -> dict[str, Any]:
    return {
        "id": exchange.id,
        "object": "text_completion",
        "created": exchange.created,
        "model": exchange.model,
        "system_fingerprint": exchange.fingerprint,
    }
